import pickle

from autosinian.errors import AutosinianError, InputError, TrialFailure


def test_exit_codes_tell_failure_from_bad_input() -> None:
    assert AutosinianError("x").exit_code == 1
    assert InputError("x").exit_code == 2
    assert issubclass(InputError, AutosinianError)


def test_a_trial_failure_names_its_stage() -> None:
    failure = TrialFailure("build", "no such layer", transient=True)
    assert str(failure) == "build: no such layer"
    assert (failure.stage, failure.reason, failure.transient) == ("build", "no such layer", True)
    assert not TrialFailure("build", "x").transient
    assert not isinstance(failure, InputError)


def test_input_errors_can_cross_processes() -> None:
    assert str(pickle.loads(pickle.dumps(InputError("one line")))) == "one line"  # noqa: S301
