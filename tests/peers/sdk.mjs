import { Client } from '@modelcontextprotocol/sdk/client/index.js';
import { StreamableHTTPClientTransport } from '@modelcontextprotocol/sdk/client/streamableHttp.js';
import { say, steps } from './steps.mjs';

const [url, , node] = process.argv.slice(2);
const client = new Client({ name: 'typescript-sdk', version: '1.0.0' });
const transport = new StreamableHTTPClientTransport(new URL(url));
await client.connect(transport);
say('connect', { server: client.getServerVersion()?.name, revision: transport.protocolVersion });
await steps(client, (params, options) => client.callTool(params, undefined, options), node);
