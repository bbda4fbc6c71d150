// A store for node-oidc-provider over Redis, as its adapter interface asks.
import Redis from "ioredis";

export function open(url) {
  const redis = new Redis(url, { keyPrefix: "peer:" });
  const now = () => Math.floor(Date.now() / 1000);

  return class {
    constructor(name) { this.name = name; }
    key(id) { return `${this.name}:${id}`; }
    async upsert(id, payload, expiresIn) {
      const many = redis.multi().set(this.key(id), JSON.stringify(payload), "EX", expiresIn || 86400);
      if (payload.grantId) many.rpush(`grant:${payload.grantId}`, this.key(id)).expire(`grant:${payload.grantId}`, 2592000);
      if (payload.uid) many.set(`uid:${payload.uid}`, id, "EX", expiresIn || 86400);
      await many.exec();
    }
    async find(id) {
      const found = await redis.get(this.key(id));
      return found ? JSON.parse(found) : undefined;
    }
    async findByUid(uid) {
      const id = await redis.get(`uid:${uid}`);
      return id ? this.find(id) : undefined;
    }
    async findByUserCode() { return undefined; }
    async consume(id) {
      const found = await this.find(id);
      if (found) await redis.set(this.key(id), JSON.stringify({ ...found, consumed: now() }), "KEEPTTL");
    }
    async destroy(id) { await redis.del(this.key(id)); }
    async revokeByGrantId(grantId) {
      const keys = await redis.lrange(`grant:${grantId}`, 0, -1);
      await redis.del(...keys, `grant:${grantId}`);
    }
  };
}
