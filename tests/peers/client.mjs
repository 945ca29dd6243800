import { Client, StreamableHTTPClientTransport } from '@modelcontextprotocol/client';
import { say, steps } from './steps.mjs';

const [url, wanted, node] = process.argv.slice(2);
const mode = wanted === 'modern' ? { pin: '2026-07-28' } : wanted;
const client = new Client({ name: 'typescript-client', version: '1.0.0' }, { versionNegotiation: { mode } });
await client.connect(new StreamableHTTPClientTransport(new URL(url)));
say('connect', { server: client.getServerVersion()?.name, revision: client.getNegotiatedProtocolVersion() });
await steps(client, (params, options) => client.callTool(params, options), node);
