// Opens the admin page in a real browser, waits until it shows calls of the tool, and prints what it shows.
//
// page.mjs URL TOOL
import { chromium } from 'playwright-core';

const [url, tool] = process.argv.slice(2);
const browser = await chromium.launch({
  executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
  args: ['--no-sandbox', '--disable-gpu', '--disable-background-networking'],
});
try {
  const page = await browser.newPage();
  const errors = [];
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  await page.goto(url);
  await page.locator('#tools td', { hasText: tool }).first().waitFor();
  const rows = async (id) => page.locator(`#${id} tbody tr`).evaluateAll((all) => all.map((row) => [...row.cells].map((cell) => cell.textContent)));
  const told = { errors, version: await page.locator('#version').textContent(), alarms: await page.locator('#alarms').textContent() };
  for (const id of ['outcomes', 'refusals', 'tools', 'nodes']) told[id] = await rows(id);
  console.log(JSON.stringify(told));
} finally {
  await browser.close();
}
