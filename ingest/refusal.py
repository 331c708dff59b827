"""A request that is refused as a whole."""

from ingest.answer import Answer


class Refusal(Exception):
    """The request ends here, with this answer; `code` is counted, of the write key `key_id` where there is one."""

    def __init__(self, answer: Answer, code: str, key_id: str = "") -> None:
        self.answer = answer
        self.code = code
        self.key_id = key_id
