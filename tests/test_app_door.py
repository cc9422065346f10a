"""Who is let in to the page, and whose turn it is: request by request, by hand, without a server to ask."""

import asyncio
import socket

import pytest
from page_process import HAS_SERVER

from fmnist_mlp.inference import app

# ---- who is let in ----


async def _welcome(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b""})


def knock(listening="127.0.0.1", path="/predict", **headers):
    """The status of an answer to such a request."""
    statuses = []
    scope = {"type": "http", "method": "POST", "path": path}
    scope["headers"] = [(name.replace("_", "-").lower().encode(), value.encode()) for name, value in headers.items()]

    async def send(message):
        statuses.append(message.get("status"))

    asyncio.run(app.Door(_welcome, listening)(scope, None, send))
    return statuses[0]


@pytest.mark.parametrize(
    ("host", "local", "network"),
    [
        ("localhost:7860", 200, 200),
        ("localhost", 200, 200),
        ("LocalHost:1", 200, 200),
        ("[::1]:7860", 200, 200),
        ("127.0.0.1", 200, 200),
        ("192.168.1.7:7860", 400, 200),
        ("[fe80::1]", 400, 200),
        (f"{socket.gethostname()}:7860", 400, 200),
        ("evil.example:7860", 400, 400),
        ("127.0.0.1.evil.example", 400, 400),
        ("localhost.evil.example:80", 400, 400),
        ("", 400, 400),
    ],
)
@pytest.mark.skipif(not HAS_SERVER, reason="needs starlette and uvicorn (the extra app)")
def test_the_page_answers_to_its_own_names_only(host, local, network):
    assert knock(host=host) == local
    assert knock("0.0.0.0", host=host) == network


OWN = {"host": "127.0.0.1:7860"}
ORIGINS = {
    "its own page": ({"origin": "http://127.0.0.1:7860", "sec_fetch_site": "same-origin"}, 200),
    "no browser": ({}, 200),
    "an address that was typed": ({"sec_fetch_site": "none"}, 200),
    "another site": ({"origin": "http://evil.example"}, 403),
    "another port of this machine": ({"origin": "http://127.0.0.1:3000"}, 403),
    "another name of this machine": ({"origin": "http://localhost:7860"}, 403),
    "a page from a file": ({"origin": "null"}, 403),
    "a page that hides its origin": ({"sec_fetch_site": "cross-site"}, 403),
    "a neighbour that hides its origin": ({"sec_fetch_site": "same-site"}, 403),
}


@pytest.mark.parametrize(("headers", "status"), ORIGINS.values(), ids=ORIGINS)
@pytest.mark.skipif(not HAS_SERVER, reason="needs starlette and uvicorn (the extra app)")
def test_pictures_from_other_pages_are_refused(headers, status):
    assert knock(**OWN, **headers) == status


@pytest.mark.skipif(not HAS_SERVER, reason="needs starlette and uvicorn (the extra app)")
def test_a_link_elsewhere_may_lead_here_and_a_frame_may_not():
    link = {"sec_fetch_site": "cross-site", "sec_fetch_mode": "navigate"}
    assert knock(path="/", **OWN, **link, sec_fetch_dest="document") == 200
    assert knock(path="/", **OWN, **link, sec_fetch_dest="iframe") == 403
    assert knock(path="/test-image", **OWN, **link, sec_fetch_dest="document") == 403


# ---- whose turn it is ----


def take_turns(clients, free=1, most_waiting=100, give_up=()):
    """Who got a turn, in order, of clients that came one after the other while the first was at it."""
    order = []

    async def one(turns, number, client):
        async with turns.turn(client):
            order.append(number)
            for _ in range(5):  # as long as all others need to come
                await asyncio.sleep(0)

    async def all_of_them():
        turns = app.Turns(free, most_waiting)
        tasks = [asyncio.create_task(one(turns, number, client)) for number, client in enumerate(clients)]
        await asyncio.sleep(0)
        for number in give_up:
            tasks[number].cancel()
        ends = await asyncio.gather(*tasks, return_exceptions=True)
        async with turns.turn("the last"):
            pass
        return ends

    return order, asyncio.run(all_of_them())


def test_who_sends_many_pictures_makes_others_wait_for_one_of_them():
    assert take_turns("aaaaabac")[0] == [0, 1, 5, 7, 2, 3, 4, 6]
    assert take_turns("aaaaabac", free=2)[0][:4] == [0, 1, 2, 5]


def test_who_gives_up_gives_the_turn_on():
    assert take_turns("aaaa", give_up=[1, 2])[0] == [0, 3]
    assert take_turns("aaa", give_up=[0])[0] == [0, 1, 2]


@pytest.mark.slow
def test_more_than_can_wait_are_refused():
    order, ends = take_turns("aaaabb", most_waiting=3)
    assert order == [0, 1, 2, 3]
    assert [getattr(end, "status", None) for end in ends] == [None] * 4 + [503] * 2
