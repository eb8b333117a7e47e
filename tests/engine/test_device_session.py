from autosinian.engine.device_session import waits_asleep


def test_only_long_batches_are_waited_for_asleep() -> None:
    assert not waits_asleep(0.25e-3)
    assert waits_asleep(2.8e-3)
