"""A client made with the official Python SDK."""

import asyncio
import json
import sys

from mcp import Client, MCPError
from mcp.client.sse import sse_client

TOOLS = {
    "rmcp": ("add", "test_tool_with_progress", {}),
    "everything": ("get-sum", "trigger-long-running-operation", {"duration": 0.2, "steps": 3}),
    "python": ("add", "count", {"to": 3}),
}


def say(step, **fields):
    print(json.dumps({"step": step, **fields}), flush=True)


def text(result):
    return "".join(getattr(block, "text", "") for block in result.content)


async def main(url, wanted, node):
    add, progress, arguments = TOOLS[node]
    mode = "2026-07-28" if wanted == "modern" else wanted
    async with Client(sse_client(url) if url.endswith("/sse") else url, mode=mode) as client:
        say("connect", server=client.server_info.name if client.server_info else None, revision=client.protocol_version)
        say("list", tools=[tool.name for tool in (await client.list_tools()).tools])
        say("call", text=text(await client.call_tool(add, {"a": 2, "b": 3})))
        try:
            result = await client.call_tool(add, {"a": 2, "b": "a secret"})
            say("bad", isError=result.is_error, text=text(result))
        except MCPError as error:
            say("bad", code=error.error.code, text=error.error.message)
        seen = []

        async def on_progress(progress, total, message):
            seen.append(progress)

        result = await client.call_tool(progress, arguments, progress_callback=on_progress)
        say("progress", isError=result.is_error, seen=seen)
    say("close")


asyncio.run(main(*sys.argv[1:]))
