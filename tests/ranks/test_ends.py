"""What is told of ranks that end badly: the reason of the one that failed, whoever was heard first."""

import os
import pickle
import signal

import pytest
from torch.multiprocessing import ProcessExitedException

from eqff.errors import DataError, TrainingError
from eqff.ranks import membership as entering
from eqff.ranks.group import ConnectionLost
from eqff.ranks.launch import _End, _failure, _Report, launch
from eqff.ranks.launchers import Started
from eqff.ranks.layout import Layout
from eqff.ranks.membership import membership

FINE = _Report(pickle.dumps("value"))
REASON = _Report(kind=DataError, arguments=("the reason",))
UNKNOWN = _Report(kind=RuntimeError, arguments=("Rank 0 failed: whatever",))
LOST = _Report(kind=ConnectionLost, arguments=("lost",))


def left(code):
    name = signal.Signals(-code).name if code < 0 else None
    return ProcessExitedException("left", error_index=1, error_pid=7, exit_code=code, signal_name=name)


@pytest.mark.parametrize(
    ("end", "kind", "text"),
    [
        (_End([REASON, FINE], left(1)), DataError, "the reason"),
        (_End([LOST, REASON], left(1)), DataError, "the reason"),
        (_End([REASON], left(-signal.SIGSEGV)), DataError, "the reason"),
        (_End([UNKNOWN], left(1)), RuntimeError, "whatever"),
        (_End([UNKNOWN], left(-signal.SIGKILL)), TrainingError, "Rank 1 was ended from outside, by signal SIGKILL"),
        (_End([LOST], left(-signal.SIGSEGV)), TrainingError, "Rank 1 has crashed .*, by signal SIGSEGV"),
        (_End([LOST], left(7)), TrainingError, "left without a word, with exit code 7"),
        (_End([LOST], left(1)), ConnectionLost, "lost"),
        (_End([FINE], left(1)), TrainingError, "with exit code 1"),
        (_End([], None, "NameError: x"), RuntimeError, "before it could tell:\nNameError: x"),
        (_End(), TrainingError, "without a result"),
    ],
)
def test_the_reason_is_told(end, kind, text):
    failure = _failure(end, stopped=False)
    with pytest.raises(kind, match=text) as caught:
        raise failure
    assert caught.type is kind


@pytest.mark.parametrize("end", [_End([LOST], left(1)), _End([], left(-signal.SIGTERM)), _End()])
def test_who_was_told_to_stop_stops(end):
    assert isinstance(_failure(end, stopped=True), KeyboardInterrupt)


def test_all_is_fine():
    assert _failure(_End([FINE]), stopped=False) is None


def test_a_lost_connection_is_one_sentence(monkeypatch):
    monkeypatch.setattr(entering.dist, "init_process_group", lambda *_, **__: None)
    monkeypatch.setattr(os, "environ", dict(os.environ))
    layout = Layout("cpu", 2, started=Started("torchrun", 0, 0, 0, 2, 1, "127.0.0.1", 1), ddp=True)
    with pytest.raises(ConnectionLost, match="Rank 0 has lost its connection"), membership(layout):
        raise RuntimeError("[third_party/gloo/gloo/transport/tcp/pair.cc:553] Connection closed by peer [127.0.0.1]")
    with pytest.raises(RuntimeError, match="mat1 and mat2") as caught, membership(layout):
        raise RuntimeError("mat1 and mat2 shapes cannot be multiplied")
    assert caught.type is RuntimeError


def leave(started, store):
    """The second rank leaves without a word while the first one waits for it."""
    with membership(Layout("cpu", 2, started=started, ddp=True), store):
        entering.dist.barrier()
        if started.rank == 1:
            os._exit(7)
        entering.dist.barrier()


@pytest.mark.slow
def test_a_rank_that_leaves_ends_all():
    with pytest.raises(TrainingError, match="Rank 1 has crashed or left without a word, with exit code 7"):
        launch(leave, 2)
