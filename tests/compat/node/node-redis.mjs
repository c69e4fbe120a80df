// The scenario through node-redis, in RESP3: createClient for a single node,
// createCluster for several.
import { createClient, createCluster } from 'redis';
import { main } from './scenario.mjs';

await main(async (cluster, nodes) => {
  const urls = nodes.map(({ host, port }) => ({ url: `redis://${host}:${port}` }));
  const client = cluster ? createCluster({ rootNodes: urls, RESP: 3, topologyRefreshOnReconnectionAttemptStrategy: 500 }) : createClient({ ...urls[0], RESP: 3 });
  client.on('error', (e) => { throw e; });
  await client.connect();
  const call = (key, ...args) => cluster ? client.sendCommand(key ?? undefined, false, args) : client.sendCommand(args);
  const scan = async (node, match) => {
    const keys = [];
    for await (const page of node.scanIterator({ MATCH: match, COUNT: 100 })) keys.push(...page);
    return keys;
  };
  return {
    call,
    // node-redis pipelines what is sent in the same tick.
    pipeline: (commands) => Promise.all(commands.map((c) => call(c[1], ...c))),
    scan: async (match) => {
      if (!cluster) return scan(client, match);
      const keys = await Promise.all(client.masters.map(async (master) => scan(await client.nodeClient(master), match)));
      return keys.flat();
    },
    close: () => client.close(),
  };
});
