// The scenario that the package comment of tests/compat describes, over whatever
// client: a client is an object of
//
//   call(key, command, ...args)   one command; key says where, null is anywhere
//   pipeline(commands)            several, their replies in order
//   scan(match)                   every key that matches, as an array
//   close()
//
// Replies are strings, numbers, null and arrays; maps of RESP3 may be objects, Maps
// or flat arrays.
import assert from 'node:assert/strict';
import { moving } from './moving.mjs';

const pipelined = 500;
const pause = (ms) => new Promise((resume) => setTimeout(resume, ms));

export function field(reply, name) {
  if (reply instanceof Map) return reply.get(name);
  if (Array.isArray(reply)) return reply[reply.indexOf(name) + 1];
  return reply[name];
}

async function refused(promise, message) {
  await assert.rejects(promise, (e) => {
    assert.ok(e.message.startsWith(message), `the error is ${e.message}, want ${message}`);
    return true;
  });
}

export async function scenario(client, prefix) {
  const key = (name) => `${prefix}:${name}`;
  const call = (name, command, ...args) => client.call(name, command, name, ...args);

  assert.equal(await client.call(null, 'PING'), 'PONG');
  assert.equal(await call(key('text'), 'SET', 'grüße\r\n\0'), 'OK');
  assert.equal(await call(key('text'), 'GET'), 'grüße\r\n\0');
  assert.equal(await call(key('text'), 'APPEND', '!'), 11);
  assert.equal(await call(key('number'), 'INCRBY', '41'), 41);
  assert.equal(await call(key('number'), 'INCR'), 42);
  assert.equal(await call(key('number'), 'SETNX', 'no'), 0);
  const [a, b, none] = ['{tag}a', '{tag}b', '{tag}none'].map(key);
  assert.equal(await client.call(a, 'MSET', a, '1', b, '2'), 'OK');
  assert.deepEqual(await client.call(a, 'MGET', a, none, b), ['1', null, '2']);
  assert.equal(await client.call(a, 'DEL', a, b), 2);
  assert.equal(await call(a, 'GET'), null);

  assert.equal(await call(key('mortal'), 'SET', 'x', 'PX', '300'), 'OK');
  const left = await call(key('mortal'), 'PTTL');
  assert.ok(left > 0 && left <= 300, `PTTL ${left}`);
  while ((await call(key('mortal'), 'GET')) !== null) await pause(10);
  assert.equal(await call(key('number'), 'EXPIRE', '3600'), 1);
  assert.equal(await call(key('number'), 'PERSIST'), 1);
  assert.equal(await call(key('number'), 'TTL'), -1);

  const many = Array.from({ length: pipelined }, (_, i) => key(`many:${i}`));
  await client.pipeline(many.map((k, i) => ['SET', k, String(i)]));
  const replies = await client.pipeline(many.map((k) => ['GET', k]));
  assert.deepEqual(replies, many.map((_, i) => String(i)));
  assert.deepEqual([...new Set(await client.scan(key('many:*')))].sort(), [...many].sort());

  const number = key('number');
  assert.equal(await client.call(number, 'QUORUM', 'CALL', '-', 'ALL', 'SET', number, '43'), 'OK');
  assert.equal(await client.call(number, 'QUORUM', 'CALL', 'ALL', '-', 'GET', number), '43');
  assert.equal(field(await client.call(null, 'QUORUM'), 'r'), 'quorum');
  assert.notEqual(field(await client.call(number, 'QUORUM', 'KEY', number), 'slot'), undefined);
  await refused(client.call(number, 'QUORUM', 'CALL', '7', '-', 'GET', number), "ERR level '7' cannot be met");

  const conflict = key('conflict');
  await client.call(conflict, 'VCLOCK', 'SET', conflict, '', 'a');
  await client.call(conflict, 'VCLOCK', 'SET', conflict, '', 'b');
  const [context, siblings] = await client.call(conflict, 'VCLOCK', 'GET', conflict);
  assert.deepEqual([...siblings].sort(), ['a', 'b']);
  const after = await client.call(conflict, 'VCLOCK', 'SET', conflict, context, 'c');
  assert.equal(await client.call(null, 'VCLOCK', 'COMPARE', context, after), 'before');
  const [latest, values] = await client.call(conflict, 'VCLOCK', 'GET', conflict);
  assert.deepEqual(values, ['c']);
  await client.call(conflict, 'VCLOCK', 'DEL', conflict, latest);
  assert.equal(await call(conflict, 'GET'), null);

  await refused(client.call(null, 'ECHO'), "ERR wrong number of arguments for 'echo' command");
  await refused(call(key('text'), 'INCR'), 'ERR value is not an integer or out of range');
  await refused(call(key('x'), 'SET', 'y', 'EX', '0'), "ERR invalid expire time in 'set' command");
  await refused(client.call(conflict, 'VCLOCK', 'SET', conflict, 'no-context', 'y'), 'ERR ');
  await refused(call(key('x'), 'LPUSH', 'y'), "ERR unknown command 'LPUSH'");
  await client.close();
}

// main runs the scenario, or moving.mjs, with what connect makes of the arguments
// single|cluster|moving PREFIX ADDRESS...
export async function main(connect) {
  const [topology, prefix, ...addresses] = process.argv.slice(2);
  const nodes = addresses.map((address) => {
    const [host, port] = address.split(':');
    return { host, port: Number(port) };
  });
  // A client that waits for what never comes would wait for ever.
  const alarm = setTimeout(() => { throw new Error('the scenario does not end'); }, topology === 'moving' ? 180000 : 60000);
  const client = await connect(topology !== 'single', nodes);
  await (topology === 'moving' ? moving : scenario)(client, prefix);
  clearTimeout(alarm);
  console.log('passed');
}
