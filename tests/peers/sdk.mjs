import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { SSEClientTransport } from '@modelcontextprotocol/sdk/client/sse.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { WebSocketClientTransport } from '@modelcontextprotocol/sdk/client/websocket.js';
import { say, steps } from './steps.mjs';

const [url, , node] = process.argv.slice(2);
const client = new Client({ name: 'typescript-sdk', version: '1.0.0' });
const over = url.startsWith('ws:') ? WebSocketClientTransport : url.endsWith('/sse') ? SSEClientTransport : StreamableHTTPClientTransport;
const transport = new over(new URL(url));
let revision;
const inform = transport.setProtocolVersion?.bind(transport);
transport.setProtocolVersion = (version) => { revision = version; inform?.(version); };
await client.connect(transport);
say('connect', { server: client.getServerVersion()?.name, revision });
await steps(client, (params, options) => client.callTool(params, undefined, options), node);
