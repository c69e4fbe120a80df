// The part "While the ring changes" of the package comment of tests/compat, over a client
// as scenario.mjs describes it.
const writers = 4;
const pauseMs = 2; // keeps one client from taking the processor that the others need
const patienceMs = 60000;
const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));

export async function moving(client, prefix) {
  const valueOf = (key) => `value of ${key}`;
  const acknowledged = [];
  const problems = new Map();
  let failed = 0;
  let stopped = false;
  const note = (e) => {
    failed++;
    problems.set(e.message, (problems.get(e.message) ?? 0) + 1);
  };
  // read ends the program when an acknowledged key is gone, and throws other errors.
  const read = async (key) => {
    const got = await client.call(key, 'GET', key);
    if (got !== valueOf(key)) {
      console.error(`${key} was acknowledged and reads as ${got}`);
      process.exit(1);
    }
  };
  const report = () => console.log(`acknowledged ${acknowledged.length} failed ${failed}`);
  const reports = setInterval(report, 100);
  process.stdin.resume();
  process.stdin.on('end', () => { stopped = true; });

  await Promise.all(Array.from({ length: writers }, async (_, w) => {
    for (let round = 0; !stopped; round++) {
      const key = `${prefix}:${w}:${round}`;
      try {
        await client.call(key, 'SET', key, valueOf(key));
        acknowledged.push(key);
        await read(key);
      } catch (e) {
        note(e);
      }
      await pause(pauseMs);
    }
  }));
  clearInterval(reports);
  report();
  for (const key of acknowledged) {
    for (const began = Date.now(); ;) {
      try {
        await read(key);
        break;
      } catch (e) {
        note(e);
        if (Date.now() - began > patienceMs) throw e;
        await pause(10);
      }
    }
  }
  for (const [text, n] of problems) console.log(`problem ${n} ${text.replaceAll('\n', ' ')}`);
  await client.close();
}
