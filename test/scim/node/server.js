// A SCIM service provider for the differential test: scimmy-routers over maps in memory.
import express from 'express';
import SCIMMY from 'scimmy';
import SCIMMYRouters from 'scimmy-routers';

const clash = (detail) => new SCIMMY.Types.Error(409, 'uniqueness', detail);

// keep declares a kind of resource whose name attribute is one of a kind, letter case apart.
function keep(Resource, prefix, name) {
  const all = new Map();
  let last = 0;
  SCIMMY.Resources.declare(Resource)
    .ingress((resource, data) => {
      if (resource.id && !all.has(resource.id)) throw new SCIMMY.Types.Error(404, null, 'none');
      for (const [id, other] of all) {
        if (id !== resource.id && other[name].toLowerCase() === data[name].toLowerCase()) throw clash(name);
      }
      const id = resource.id ?? `${prefix}${++last}`;
      const now = new Date();
      const kept = JSON.parse(JSON.stringify({ ...data, id }));
      kept.meta = { created: all.get(id)?.meta.created ?? now, lastModified: now };
      all.set(id, kept);
      return kept;
    })
    .egress((resource) => {
      if (resource.id) {
        if (!all.has(resource.id)) throw new SCIMMY.Types.Error(404, null, 'none');
        return all.get(resource.id);
      }
      const list = [...all.values()];
      return resource.filter ? resource.filter.match(list) : list;
    })
    .degress((resource) => {
      if (!all.delete(resource.id)) throw new SCIMMY.Types.Error(404, null, 'none');
    });
}
keep(SCIMMY.Resources.User, 'u', 'userName');
keep(SCIMMY.Resources.Group, 'g', 'displayName');
SCIMMY.Resources.User.extend(SCIMMY.Schemas.EnterpriseUser, false);

const app = express();
app.use('/scim/v2', new SCIMMYRouters({ type: 'bearer', handler: () => 'test' }));
app.get('/ready', (_, res) => res.send('yes'));
app.listen(Number(process.env.PORT), '127.0.0.1');
