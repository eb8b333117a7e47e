import socket

from autosinian.measure import device_link as link_


def pair() -> tuple[socket.socket, socket.socket]:
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)


def test_a_message_arrives_whole() -> None:
    here, there = pair()
    link_.send(there, link_.SUBMIT, 3, 5, b"body")
    assert link_.receive(here) == link_.Message(link_.SUBMIT, 3, 5, b"body")


def test_the_last_words_of_a_process_that_left_messages_unread_arrive() -> None:
    here, there = pair()
    link_.send(here, link_.SUBMIT)
    link_.send(there, link_.FAILED, body=b"why")
    there.close()
    assert link_.receive(here) == link_.Message(link_.FAILED, 0, 0, b"why")
    assert link_.receive(here) is None


def test_another_side_that_is_gone_gives_none() -> None:
    here, there = pair()
    there.close()
    assert link_.receive(here) is None
