// What both TypeScript clients do once they are connected.

const tools = {
  rmcp: { sum: 'add', progress: ['test_tool_with_progress', {}] },
  everything: { sum: 'get-sum', progress: ['trigger-long-running-operation', { duration: 0.2, steps: 3 }] },
  python: { sum: 'add', progress: ['count', { to: 3 }] },
};

export const say = (step, fields) => console.log(JSON.stringify({ step, ...fields }));

const text = (result) => result.content.map((block) => block.text ?? '').join('');

/** `callTool(params, options)` hides how the two SDKs differ. */
export async function steps(client, callTool, node) {
  const { sum, progress } = tools[node];
  const { tools: list } = await client.listTools();
  say('list', { tools: list.map((tool) => tool.name) });
  say('call', { text: text(await callTool({ name: sum, arguments: { a: 2, b: 3 } })) });
  try {
    const result = await callTool({ name: sum, arguments: { a: 2, b: 'a secret' } });
    say('bad', { isError: result.isError ?? false, text: text(result) });
  } catch (error) {
    say('bad', { code: error.code, text: error.message });
  }
  const seen = [];
  const onprogress = ({ progress }) => seen.push(progress);
  const [name, args] = progress;
  const result = await callTool({ name, arguments: args }, { onprogress });
  say('progress', { isError: result.isError ?? false, seen });
  await client.close();
  say('close', {});
}
