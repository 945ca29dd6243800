"""A server made with the official Python SDK, on stdio, or at a port of loopback with the HTTP+SSE of 2024-11-05."""

import sys

from mcp.server.mcpserver import Context, MCPServer

server = MCPServer("python-node")


@server.tool()
def add(a: float, b: float) -> str:
    """Adds two numbers."""
    return str(a + b)


@server.tool()
async def count(to: int, context: Context) -> str:
    """Counts, and reports how far it is."""
    for number in range(1, to + 1):
        await context.report_progress(number, to)
    return f"counted to {to}"


if len(sys.argv) > 1:
    server.run("sse", host="127.0.0.1", port=int(sys.argv[1]))
else:
    server.run("stdio")
