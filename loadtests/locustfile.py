"""Viewers for Locust: `locust -f loadtests/locustfile.py --host http://127.0.0.1:8080`, from the project's root.

`--model`, or its field in the web interface, says how many watch when (`models` has the curves): users are then the
most there are, run time is the length of the model's evening. `steady` is Locust's own way: users, spawn rate, until
stopped. Each user plays one seeded viewing after the other, at `--pace` seconds of film a second, in the forms that
players use; in `final` everybody watches one live content. `./gw load` runs this, and compares the ledger of it with
the stores.
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Iterator
from typing import Any, Final

from locust import LoadTestShape, User, events, task
from locust.argument_parser import LocustArgumentParser
from locust.env import Environment
from locust.exception import StopUser

from loadtests.live_viewing import live_viewing
from loadtests.locust_player import END_S, LocustPlayer, open_ledger
from loadtests.models import MODELS, Match
from loadtests.viewing import viewing

STEADY: Final = "steady"
END_UNBOOKED_S: Final = 3.0  # whoever stops a crowd that nobody counts does not want to wait for a gateway that is away

_indices: Iterator[int] = itertools.count(random.SystemRandom().randrange(2**31))  # workers must not share viewings


class Viewer(LocustPlayer):
    """One viewer after the other on the same sofa."""

    @task
    def watch(self) -> None:
        """Play one viewing."""
        self.play(viewing(self.seed, next(_indices), time.time_ns() // 1_000_000, self.pace))


class FinalViewer(LocustPlayer):
    """One viewer of the final, who comes once and goes for good."""

    begun_ms: int = 0
    match: Match = Match(MODELS["final"].length_s)

    @task
    def watch(self) -> None:
        """Play the final from now on."""
        now_ms = time.time_ns() // 1_000_000
        self.play(live_viewing(self.seed, next(_indices), now_ms, self.match, self.begun_ms, self.pace))
        raise StopUser


class Crowd(LoadTestShape):
    """The chosen model as Locust asks for it, once a second."""

    use_common_options = True

    def tick(self) -> tuple[int, float, list[type[User]] | None] | None:
        """How many users there have to be now, how quickly, and of which kind; None when it is over."""
        assert self.runner is not None
        options = self.runner.environment.parsed_options
        assert options is not None
        at_s: float = self.get_run_time()  # type: ignore[no-untyped-call]
        users = options.num_users or 1
        if options.model == STEADY:
            is_over = options.run_time and at_s >= options.run_time
            return None if is_over else (users, options.spawn_rate or 1, [Viewer])
        model = MODELS[options.model]
        now = model.users_at(at_s, length_s(options), users)
        return None if now is None else (now, users, [FinalViewer if model.is_live else Viewer])


def length_s(options: Any) -> float:
    """How long the chosen model takes: what was asked for, or its own."""
    return float(options.run_time or MODELS[options.model].length_s)


def add_options(parser: LocustArgumentParser) -> None:
    """Ours beside Locust's; the web interface shows them too."""
    parser.add_argument("--model", choices=[STEADY, *MODELS], default=STEADY, help="How many watch when")
    parser.add_argument("--pace", type=float, default=20.0, env_var="VIEWING_PACE", help="Seconds of film a second")
    parser.add_argument("--seed", type=int, default=1, env_var="VIEWING_SEED", help="Of contents and viewings")
    parser.add_argument("--hang-up-share", type=float, default=0.005, help="Of tries that are broken on purpose")
    parser.add_argument("--ledgers", default="", include_in_web_ui=False, help="Directory for the ledger")


def begin_ledger(environment: Environment, **_: Any) -> None:
    """Once a process. For the ledger's sake users get all the time they need until they are answered."""
    options = environment.parsed_options
    assert options is not None
    LocustPlayer.ledger = open_ledger(options.ledgers)
    environment.stop_timeout = environment.stop_timeout or (END_S if options.ledgers else END_UNBOOKED_S)


def begin_match(environment: Environment, **_: Any) -> None:
    """Every viewer of a final counts from here."""
    options = environment.parsed_options
    assert options is not None
    if options.model != STEADY:
        FinalViewer.begun_ms = time.time_ns() // 1_000_000
        FinalViewer.match = Match(length_s(options))


events.init_command_line_parser.add_listener(add_options)  # type: ignore[no-untyped-call]
events.init.add_listener(begin_ledger)  # type: ignore[no-untyped-call]
events.test_start.add_listener(begin_match)  # type: ignore[no-untyped-call]
