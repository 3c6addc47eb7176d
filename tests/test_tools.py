"""The page's functions as tools for assistants: asked as an assistant asks, over MCP."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import httpx
import pytest

from explain.lab.examples import EXAMPLES

pytest.importorskip("mcp", reason="the extra mcp is not installed")
from mcp import ClientSession
from mcp.client.streamable_http import streamable_http_client

T = TypeVar("T")
pytestmark = pytest.mark.timeout(600)


def asked(page_url: str, question: Callable[[ClientSession], Awaitable[T]]) -> T:
    """The answer to a question that is asked over a connection of its own."""

    async def inside() -> T:
        async with (
            streamable_http_client(f"{page_url}gradio_api/mcp/") as (read, write, _),
            ClientSession(read, write) as session,
        ):
            await session.initialize()
            return await question(session)

    return asyncio.run(inside())


def test_the_tools_have_names_descriptions_and_named_arguments(page_url: str) -> None:
    listed = asked(page_url, lambda session: session.list_tools())
    tools = {tool.name: tool for tool in listed.tools}
    assert set(tools) == {"analyze", "explain", "degrade", "forge"}
    for name, argument in (("analyze", None), ("degrade", "sweep"), ("forge", "settings")):
        given = set(tools[name].inputSchema["properties"])
        assert given == {"file", argument} - {None}
    assert all(len(tool.description) > 60 for tool in tools.values())
    assert "never evidence against a person" in tools["analyze"].description


def test_a_tool_answers_about_a_built_in_face(page_url: str, tmp_path) -> None:
    EXAMPLES[0].write(tmp_path / "astronaut.png")
    sent = {"files": ("astronaut.png", (tmp_path / "astronaut.png").read_bytes())}
    (path,) = httpx.post(f"{page_url}gradio_api/upload", files=sent, timeout=60).json()
    file = f"{page_url}gradio_api/file={path}"
    answer = asked(page_url, lambda session: session.call_tool("analyze", {"file": file}))
    assert not answer.isError
    told = ast.literal_eval(answer.content[0].text)  # Gradio writes it as Python does
    assert told["file"] == "astronaut.png" and told["kind"] == "image"
    assert told["label"] in ("authentic", "forged", "uncertain") and told["reason"]
    assert len(told["faces"]) == 1


def test_a_tool_takes_no_address_of_elsewhere(page_url: str) -> None:
    with pytest.raises(BaseExceptionGroup):  # of httpx: refused at the door with 400
        asked(page_url, lambda s: s.call_tool("analyze", {"file": {"path": "http://h/a.png"}}))
