// An OpenID provider for the sign-in tests: oidc-provider with its own pages for trials, where any
// password is right. Its key, port and client come from the environment.
import Provider from 'oidc-provider';

const { PORT, REDIRECT_URI, BACKCHANNEL, JWKS, GROUPS, IN_ID_TOKEN } = process.env;

const provider = new Provider(`http://127.0.0.1:${PORT}`, {
  clients: [{
    client_id: 'sallyport',
    client_secret: 'a-secret-of-the-test',
    redirect_uris: [REDIRECT_URI],
    ...(BACKCHANNEL && { backchannel_logout_uri: BACKCHANNEL, backchannel_logout_session_required: true }),
  }],
  jwks: JSON.parse(JWKS),
  claims: { openid: ['sub'], profile: ['name'], email: ['email', 'email_verified'], groups: ['groups'] },
  scopes: ['openid', 'profile', 'email', 'groups'],
  conformIdTokenClaims: !IN_ID_TOKEN,
  features: { devInteractions: { enabled: true }, backchannelLogout: { enabled: true } },
  // Its guard against addresses of the loopback is right, and in the way here.
  fetch: (url, { dispatcher: _, ...options }) => globalThis.fetch(url, options),
  cookies: { keys: ['a key of the test'] },
  findAccount: (_, id) => ({
    accountId: id,
    claims: () => ({ sub: id, name: `Name of ${id}`, email: `${id}@example.test`, email_verified: true, groups: GROUPS.split(',') }),
  }),
});
provider.on('server_error', (_, e) => console.error('server_error', e));
provider.on('authorization.error', (_, e) => console.error('authorization.error', e));
provider.on('grant.error', (_, e) => console.error('grant.error', e));
provider.on('backchannel.error', (_, e) => console.error('backchannel.error', e));
provider.listen(Number(PORT), '127.0.0.1');
