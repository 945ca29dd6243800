"""A stdio server made with the official Python SDK."""

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


server.run("stdio")
