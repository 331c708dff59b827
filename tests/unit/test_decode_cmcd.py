"""Lines of CMCD as players send them, and as nobody should: what each becomes, or why it becomes nothing."""

import json
from time import process_time
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import cmcd
from ingest.cmcd import CmcdLine
from ingest.decode import structured
from ingest.decode.cmcd import KEYS, LINE_MAX_CHARS, READ_MAX_CHARS, Decoded, decode, members
from ingest.decode.cmcd_context import Circumstances, context_of, without_argument
from ingest.decode.limits import Limits
from ingest.decode.request import Request

TS = 1_795_369_092_440
AT_US = TS * 1_000
NOW_US = AT_US + 5_000_000
LEAST = f'e=ps,sid="s",sn=1,ts={TS}'
HLS = (
    'bl=(12000),br=(966),cid="streamverse-movie-1",e=ps,mtp=(23300),sf=h,sid="9110210b-8b1c-4b6f-a8de-7f2c8f6b2b10",'
    f"sn=21,st=v,sta=p,ts={TS},v=2"
)
DASH = (
    'ab=(900;v 64;a),bl=(9500;v 9500;a),br=(64;a 900;v),cid="m",e=ps,msd=2519,mtp=(170200;v 46800;a),pb=(900;v 64;a),'
    f'sf=d,sid="d-1",sn=19,st=v,sta=a,ts={TS},v=2'
)
PROFILE = UUID("0b9a3c52-0000-4000-8000-0000000000aa")


def batch_of(record: str | bytes, query: str = "", tests: bool = False, **circumstances: Any) -> Decoded:
    request = Request(NOW_US, Limits(), b"owner-1", tests=tests)
    return decode(record, context_of(Circumstances(query, **circumstances)), request)


def lines_of(decoded: Decoded) -> list[CmcdLine]:
    return [cmcd.decode(row) for row in decoded.rows]


def line_of(record: str | bytes, query: str = "", **options: Any) -> CmcdLine:
    (line,) = lines_of(batch_of(record, query, **options))
    return line


def refusal_of(record: str | bytes) -> str:
    rows, batch = batch_of(record)
    assert (batch.received, batch.accepted, batch.rejected, rows) == (1, 0, 1, [])
    (code,) = batch.rejected_by_code
    return code


def test_a_line_of_hls_js_is_kept_as_it_says() -> None:
    line = line_of(HLS + "\n", "device=tv")
    assert line == CmcdLine(
        "9110210b-8b1c-4b6f-a8de-7f2c8f6b2b10", line.target, "owner-1", 21, "ps", AT_US, NOW_US, state="p",
        content_id="streamverse-movie-1", bitrate_kbps=966, device_type="tv",
        metadata='{"bl":12000,"mtp":23300,"st":"v","sf":"h"}',
    )  # fmt: skip


def test_a_line_of_dash_js_has_the_bitrate_of_its_video_and_when_it_had_started() -> None:
    line = line_of(DASH)
    assert (line.bitrate_kbps, line.startup_ms, line.state) == (900, 2519, "a")
    assert line.metadata == '{"bl":9500,"mtp":170200,"st":"v","sf":"d"}'


def test_a_body_has_a_line_a_row_and_blank_ones_are_none() -> None:
    decoded = batch_of(f"\ufeff{HLS}\r\n\n \t\n  {DASH}  \n\n".encode())
    batch = decoded.batch
    assert (batch.received, batch.accepted, batch.duplicates, batch.rejected, batch.bodies) == (2, 2, 0, 0, [])
    assert [line.sequence for line in lines_of(decoded)] == [21, 19]
    assert batch_of(b"").batch.received == batch_of("\n\r\n").batch.received == 0


@pytest.mark.parametrize(
    ("said", "column", "value"),
    [
        ("br=900", "bitrate_kbps", 900),
        ("br=(900)", "bitrate_kbps", 900),
        ("br=(900;v 64;a)", "bitrate_kbps", 900),
        ("br=(64;a 900;v)", "bitrate_kbps", 900),
        ("br=(64;a)", "bitrate_kbps", 64),
        ("br=966.4", "bitrate_kbps", 966),
        ("bsd=(200;v 300;a)", "stall_ms", 500),
        ("bsd=200", "stall_ms", 200),
        ("pt=1795369265869", "position_ms", 1_795_369_265_869),
        ("pr=1.5", "rate_thousandths", 1_500),
        ("pr=0", "rate_thousandths", 0),
        ("pr=-2", "rate_thousandths", -2_000),
        ("ec=25", "error_code", "25"),
        ("ec=(25)", "error_code", "25"),
        ('ec=("manifestLoadError")', "error_code", "manifestLoadError"),
        ('ec="manifestLoadError"', "error_code", "manifestLoadError"),
        (f'ec="{"x" * 60}"', "error_code", "x" * 50),
        ("cid=film", "content_id", "film"),
        ("cid=7", "content_id", "7"),
        (r'cid="say \"hi\", \\o/"', "content_id", 'say "hi", \\o/'),
        ('cid="é,漢"', "content_id", "é,漢"),
        ('cen="watchlist-add"', "custom_event", "watchlist-add"),
        ("sta=zz", "state", "zz"),
        ('cdn="edge-1"', "cdn_edge", "edge-1"),
        ('h="cdn.example"', "cdn_edge", "cdn.example"),
        ('url="HTTPS://u:p@Edge.example:8443/a,b?token=1"', "cdn_edge", "edge.example"),
        ('url="https://[::1]:80/x"', "cdn_edge", "[::1]"),
        ('cdn="a",url="https://b/"', "cdn_edge", "a"),
    ],
)
def test_a_value_is_read_in_every_way_that_players_write_it(said: str, column: str, value: object) -> None:
    assert getattr(line_of(f"{said},{LEAST}"), column) == value


@pytest.mark.parametrize(
    "said",
    [
        "br=", "br", "br=()", "br=abc", "br=(a b)", "br=-1", "br=2147483648", "br=(900", "br=900)", "br==1", "br=1 2",
        "br= 5", "br=?1", "br=:QQ==:", "br=1795369265869", "msd=1.2.3", "pt=-1", "pr=9999999999", "bsd=(1 -2)",
        f'cid="{"x" * 129}"', 'cid=""', "cid", 'cid="a\x01"', 'cid="a\x00"', 'cid="\\x"', "cid='a'", 'cid="é\\""',
        f'cen="{"x" * 65}"', "sta=later", "ec=()", "ec", "ec=?0", f"br=({'1 ' * 300})", "cdn=?1",
        "frobs=1", "1a=2", "=7", "Br=7", "b r=7",
    ],
)  # fmt: skip
def test_a_bad_value_costs_its_key_alone(said: str) -> None:
    decoded = batch_of(f"{said},{LEAST}")
    assert lines_of(decoded) == [line_of(LEAST)]
    assert decoded.batch.unknown_fields == (0 if said == "=7" else 1)


@pytest.mark.parametrize("said", ['ttfb=1795369265869,ttlb=48,rc=200,bs,bg=?0,su,nor="../a,e=x"', "v=2", "v=1", "v=x"])
def test_what_is_no_column_harms_nothing(said: str) -> None:
    assert line_of(f"{LEAST},{said}") == line_of(LEAST)
    assert batch_of(f"{LEAST},{said}").batch.unknown_fields == 0


@pytest.mark.parametrize(
    ("line", "code"),
    [
        (f"e=ps,ts={TS},v=2", "cmcd_no_session"),  # dash.js without enabledKeys
        (f'e=ps,sid="s",ts={TS}', "cmcd_no_session"),
        ('e=ps,sid="s",sn=1', "cmcd_no_session"),
        (f'sid="s",sn=1,ts={TS}', "cmcd_no_session"),
        (f'e=ps,sid="{"x" * 65}",sn=1,ts={TS}', "cmcd_no_session"),
        (f'e=ps,sid="",sn=1,ts={TS}', "cmcd_no_session"),
        (f'e=ps,sid="s",sn=-1,ts={TS}', "cmcd_no_session"),
        (f'e=ps,sid="s",sn=1,ts=-{TS}', "cmcd_no_session"),
        (f'e=ps,sid="s",sn=1,ts="{TS}"', "cmcd_no_session"),
        (f'e=somewhere,sid="s",sn=1,ts={TS}', "cmcd_no_session"),
        (f'cid="never ends,e=ps,sid="s",sn=1,ts={TS}', "cmcd_unreadable"),
        ("br=900,su", "cmcd_no_session"),
        ('{"sid":"s"}', "cmcd_unreadable"),
        ("<html>", "cmcd_unreadable"),
        (LEAST + ',nor="' + "x" * LINE_MAX_CHARS + '"', "cmcd_unreadable"),
        (LEAST + ",v=3", "cmcd_version"),
        (LEAST + ",v=(3)", "cmcd_version"),
        ("v=3", "cmcd_version"),
        ('e=ps,sid="s",sn=1,ts=1,v=2', "too_old"),
        (f'e=ps,sid="s",sn=1,ts={(NOW_US - 35 * 86_400_000_000) // 1_000 - 1}', "too_old"),
        (f'e=ps,sid="s",sn=1,ts={(NOW_US + 86_400_000_000) // 1_000 + 1}', "too_new"),
        ('e=ps,sid="s",sn=1,ts=4133980800000', "out_of_range"),
        ('e=ps,sid="s",sn=1,ts=999999999999999', "out_of_range"),
    ],
)  # fmt: skip
def test_a_line_that_cannot_be_kept_is_counted_by_its_code(line: str, code: str) -> None:
    assert refusal_of(line) == code


def test_a_bad_line_costs_no_other_of_its_body() -> None:
    decoded = batch_of(f"{HLS}\n<html>\n{DASH}\ne=t\n".encode() + b"\xff\xfe\n" + LEAST.encode())
    assert decoded.batch.rejected_by_code == {"cmcd_unreadable": 2, "cmcd_no_session": 1}
    assert [line.sequence for line in lines_of(decoded)] == [21, 19, 1]


def test_bytes_that_are_no_utf8_cost_their_key() -> None:
    assert line_of(b'cid="\xff\xfe",' + LEAST.encode()) == line_of(LEAST)


def test_lines_beyond_what_a_request_may_hold_are_counted_one_by_one() -> None:
    batch = batch_of("\n".join(f'e=t,sid="s",sn={number},ts={TS}' for number in range(1_003)) + "\n").batch
    assert (batch.received, batch.accepted, batch.rejected_by_code) == (1_003, 1_000, {"too_many_events": 3})


def test_a_report_is_read_so_far_and_never_within_a_line() -> None:
    lines = [
        f'com.x-y="{"x" * 60}",url="https://h/{"y" * 900}",e=t,sid="s",sn={number},ts={TS}' for number in range(700)
    ]
    decoded = batch_of("\n".join(lines) + "\n")
    kept = READ_MAX_CHARS // (len(lines[0]) + 3)
    assert decoded.batch.rejected_by_code == {"too_many_events": 700 - len(decoded.rows)}
    assert abs(len(decoded.rows) - kept) < 5
    assert [line.sequence for line in lines_of(decoded)] == list(range(len(decoded.rows)))
    (one,) = batch_of(b"x" * (READ_MAX_CHARS + 1)).batch.rejected_by_code
    assert one == "too_many_events"


HOSTILE = {
    "custom keys": lambda line, at: f"{at:x}-={line * 7919 + at}",
    "unknown keys": lambda line, at: f"k{at}",
    "lists": lambda line, at: (
        f"{('br', 'bl', 'mtp', 'tb', 'bsd', 'ec')[at % 6]}=({' '.join(f'{line * 97 + k};v' for k in range(8))})"
    ),
    "long lists": lambda line, at: f"ec=({' '.join(str(line + k) for k in range(100))})",
    "escapes": lambda line, at: f'url="{line}' + '\\"' * 200 + '"',
    "strings": lambda line, at: f'a{at}-b="\\"{line},"',
}


@pytest.mark.parametrize("name", HOSTILE)
def test_a_report_made_to_be_slow_is_read_in_bounded_time(name: str) -> None:
    def line(number: int) -> str:
        parts = [f'e=t,sid="a",sn={number},ts={TS}']
        while sum(map(len, parts)) < 500 and len(parts) < 100:
            parts.append(HOSTILE[name](number, len(parts)))
        return ",".join(parts)

    body = "\n".join(map(line, range(1_000))).encode()
    began_s = process_time()
    batch_of(body)
    assert process_time() - began_s < 1.0, "of CPU, on a machine that is eight times slower than this was written on"


def test_errors_behind_the_first_custom_keys_and_the_url_without_its_secrets_are_metadata() -> None:
    line = line_of(
        f'{LEAST},ec=("a" "b" 7),com.x-y="it\'s \\"é\\"",com.x-flag,com.x-n=1.5,com.x-t=tok,'
        'url="https://u:p@h/a/b.m4s?sig=secret#x",com.x-list=(1 2)'.replace("é", "e")
    )
    assert line.metadata is not None
    assert json.loads(line.metadata) == {
        "ec": ["b", "7"], "url": "https://h/a/b.m4s", "com.x-y": 'it\'s "e"', "com.x-flag": True, "com.x-n": 1.5,
        "com.x-t": "tok",
    }  # fmt: skip
    assert "secret" not in line.metadata and "u:p" not in line.metadata


def test_metadata_is_never_larger_than_the_store_takes() -> None:
    custom = ",".join(f'com.example-key{number:03}="{"é" * 60}"' for number in range(60))
    line = line_of(f"bl=5,{custom},{LEAST}")
    assert line.metadata is not None and 1_800 < len(line.metadata.encode()) <= cmcd.METADATA_MAX_BYTES
    assert json.loads(line.metadata)["bl"] == 5


def test_the_collectors_url_says_whose_and_where() -> None:
    query = f"profile={PROFILE}&device=tv&platform=tizen&cdn=edge%201&quality=1080p&app=1.2&player=hls.js+1.7&key=k"
    line = line_of(LEAST + ',url="https://elsewhere/"', query, country="DE")
    assert line[17:25] == ("1080p", None, PROFILE, "tv", "tizen", "hls.js 1.7", "1.2", "DE")
    assert line.cdn_edge == "edge 1"
    unfilled = line_of(LEAST, f"profile=[PROFILE]&device=&platform=%%P%%&quality={'x' * 21}&app=%00&cdn=-1")
    assert unfilled._replace(target=0) == line_of(LEAST)._replace(target=0)


@pytest.mark.parametrize(
    ("user_agent", "platform", "mobile", "device"),
    [
        ("Mozilla/5.0 (SMART-TV; Linux; Tizen 6.0)", "", "", ("tv", "tizen")),
        ("Mozilla/5.0 (Web0S; Linux/SmartTV) Chrome/87", '"Linux"', "?0", ("tv", "webos")),
        ("Roku/DVP-12.0 (12.0.0.4182-88)", "", "", ("tv", "roku")),
        ("AppleCoreMedia/1.0.0.20K71 (Apple TV; U; CPU OS 16_1 like Mac OS X)", "", "", ("tv", "tvos")),
        ("Mozilla/5.0 (Linux; Android 9; AFTMM) Mobile", '"Android"', "?1", ("tv", "firetv")),
        ("Mozilla/5.0 (PlayStation; PlayStation 5/2.26)", "", "", ("console", "playstation")),
        ("Mozilla/5.0 (X11; Linux x86_64) Chrome/156", '"Linux"', "?0", ("web", "linux")),
        ("Mozilla/5.0 (Linux; Android 10; K) Chrome/156 Mobile", '"Android"', "?1", ("mobile", "android")),
        ("Mozilla/5.0 (Linux; Android 10; K) Chrome/156", '"Android"', "?0", ("tablet", "android")),
        ("Mozilla/5.0 (iPhone; CPU iPhone OS 17_0 like Mac OS X)", "", "", ("mobile", "ios")),
        ("Mozilla/5.0 (Windows NT 10.0; Win64; x64) Firefox/130", "", "", ("web", "windows")),
        ("curl/8.0", "", "", (None, None)),
        ("", '"Chrome OS"', "", ("web", "chromeos")),
    ],
)
def test_what_the_url_does_not_say_of_the_device_the_headers_say(
    user_agent: str, platform: str, mobile: str, device: tuple[str | None, str | None]
) -> None:
    told = {"user_agent": user_agent, "hinted_platform": platform, "hinted_mobile": mobile}
    line = line_of(LEAST, **told)
    assert (line.device_type, line.platform) == device
    assert line_of(LEAST, "device=fridge", **told)[20:22] == ("fridge", device[1])


def test_the_target_is_the_url_without_its_key_and_is_for_ever() -> None:
    query, _ = without_argument("device=tv&key=a&cdn=x")
    assert query == without_argument("device=tv&cdn=x&key=b&CMCD=v%3D2")[0] == "device=tv&cdn=x"
    assert without_argument("device=tv&%6Bey=a&cdn=x&%43MCD=v%3D2") == ("device=tv&cdn=x", "v=2")
    assert [line_of(LEAST, one).target for one in ("", query)] == [-2829455486299055582, -4143014656732249331]


@pytest.mark.parametrize(
    ("query", "line"),
    [
        ("CMCD=br%3D(900%3Bv+64%3Ba)%2Cv%3D2", "br=(900;v 64;a),v=2"),
        ("a=1&CMCD=e%3Dt%20&CMCD=e%3Dps", "e=t "),
        ("CMCD=", ""),
        ("Test&CMCD=cid%3D%22%C3%A9%22", 'cid="é"'),
        ("cmcd=v%3D2&Qualabs=x", None),
        ("", None),
    ],
)
def test_the_argument_is_read_as_a_form_and_of_two_the_first(query: str, line: str | None) -> None:
    assert without_argument(query)[1] == line


def test_lines_of_crawlers_and_of_a_url_that_says_so_are_tests() -> None:
    assert line_of(LEAST, tests=True).test
    assert line_of(LEAST, "test=1").test
    assert not line_of(LEAST, "test=0").test


@pytest.mark.parametrize("hostile", ["," * 16_000, '"' * 16_001, 'a="' + "\\" * 16_001, "(" * 16_000, "a=" * 8_000])
def test_no_line_takes_longer_than_its_length(hostile: str) -> None:
    assert refusal_of(f"{hostile},e=") in ("cmcd_unreadable", "cmcd_no_session")


KEY = st.sampled_from(sorted(KEYS)) | st.text("abcdefgxyz0123456789-_.*", min_size=1, max_size=9).map("x".__add__)
STRING = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=9)
BARE = st.one_of(
    st.integers(-(10**15) + 1, 10**15 - 1).map(str),
    st.integers(-99_999, 99_999).map(lambda number: f"{number / 1_000:.3f}"),
    STRING.map(lambda text: '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'),
    st.from_regex(r"[A-Za-z*][A-Za-z0-9:/!#$%&'*+.^_`|~-]{0,9}", fullmatch=True),
    st.sampled_from(["?0", "?1", ":QUJD:"]),
)
ITEM = st.tuples(BARE, st.lists(st.sampled_from([";v", ";a", ";r=1"]), max_size=2)).map(
    lambda one: one[0] + "".join(one[1])
)
MEMBER = ITEM | st.lists(ITEM, max_size=3).map(lambda items: f"({' '.join(items)})")
SEPARATOR = st.sampled_from([",", ", ", " ,", "\t,\t"])


@given(st.dictionaries(KEY, MEMBER | st.just(""), min_size=1, max_size=8), SEPARATOR)
def test_every_dictionary_is_cut_where_its_members_end(said: dict[str, str], separator: str) -> None:
    line = separator.join(f"{key}={value}" if value else key for key, value in said.items())
    assert members(line) == {key: value or "?1" for key, value in said.items()}
    assert {key: structured.member(value) for key, value in members(line).items()} == structured.dictionary(line)


@given(st.text() | st.text('abe=,;()"\\ \t?01.-:*\n') | st.binary())
def test_whatever_comes_is_a_batch_that_adds_up(record: str | bytes) -> None:
    for one in (record, LEAST + "," + record if isinstance(record, str) else LEAST.encode() + b"," + record):
        rows, batch = batch_of(one)
        assert (
            batch.received == batch.accepted + batch.rejected == batch.accepted + sum(batch.rejected_by_code.values())
        )
        assert len(rows) == batch.accepted and all(map(cmcd.decode, rows))
