// The scenario through ioredis: Redis for a single node, Cluster for several.
import { Redis, Cluster } from 'ioredis';
import { main } from './scenario.mjs';

await main(async (cluster, nodes) => {
  const client = cluster ? new Cluster(nodes, { slotsRefreshInterval: 1000 }) : new Redis(nodes[0]);
  const scanNode = async (node, match) => {
    const keys = [];
    for await (const page of node.scanStream({ match, count: 100 })) keys.push(...page);
    return keys;
  };
  return {
    call: (_key, command, ...args) => client.call(command, ...args),
    // ioredis sends a pipeline to one node: in a cluster its keys would have to be
    // of one slot's node, so there the commands go out together without one.
    pipeline: async (commands) => {
      if (cluster) return Promise.all(commands.map(([name, ...args]) => client.call(name, ...args)));
      const batch = client.pipeline();
      for (const [name, ...args] of commands) batch.call(name, ...args);
      return (await batch.exec()).map(([error, reply]) => {
        if (error) throw error;
        return reply;
      });
    },
    scan: async (match) => (await Promise.all((cluster ? client.nodes('master') : [client]).map((n) => scanNode(n, match)))).flat(),
    close: () => client.quit(),
  };
});
