package removal

const (
	throttle = "internal/iam/throttle/throttle.go"
	signin   = "internal/iam/account/signin.go"
)

// bruteForce: guessing passwords, codes and keys.
var bruteForce = []removal{
	{row: "brute force", what: "the delay of an account", file: throttle,
		old: "return min(time.Second<<min(c.N-Free, 6), MaxDelay)", new: "return 0", run: "TestDelays"},
	{row: "brute force", what: "the delay of an account, against 1e5 guesses", file: throttle,
		old: "return min(time.Second<<min(c.N-Free, 6), MaxDelay)", new: "return 0", run: "TestAnAttackOnOneAccount"},
	{row: "brute force", what: "an account that does not exist is slowed, too", file: signin,
		old: "} else if !ok {\n\t\ta.emit(ctx, u, from, Event{Name: \"signin.password\"", new: "} else if !ok && u.ID != \"\" {\n\t\ta.emit(ctx, u, from, Event{Name: \"signin.password\"", in: "test", run: "TestGuessesThroughTheConsole"},
	{row: "brute force", what: "the limit of a network", file: throttle,
		old: "w = max(w, cells[ofNetwork].bucket(now, PrefixBurst, PrefixEvery))", new: "", run: "TestSprayingFromOneNetwork"},
	{row: "brute force", what: "the limit of all together", file: throttle,
		old: "w := max(cells[ofAccount].account(now), cells[ofAll].bucket(now, GlobalBurst, GlobalEvery))", new: "w := cells[ofAccount].account(now)", run: "TestAllTogether"},
	{row: "brute force", what: "nobody is locked out for good", file: throttle,
		old: "min(time.Second<<min(c.N-Free, 6), MaxDelay)", new: "time.Second<<min(c.N-Free, 30)", run: "TestDelays"},
	{row: "brute force", what: "a refused try costs nothing", file: throttle,
		old: "return after, false, nil // without a lock or a write\n", new: "_ = t.Failed(ctx, try)\n\t\treturn after, false, nil\n", run: "TestDelays"},
	{row: "brute force", what: "a lane for the owner's device", file: throttle,
		old: "t.place(ofAccount, try.Account, try.Device)", new: "t.place(ofAccount, try.Account)", run: "TestAnAttackOnOneAccount"},
	{row: "brute force", what: "the owner's device is proven", file: signin,
		old: "if h := hash(from.Device); !from.Device.Empty() && slices.Contains(l.Devices, h) {", new: "if h := hash(from.Device); !from.Device.Empty() || slices.Contains(l.Devices, h) {", run: "TestAnInventedDeviceHasNoLane"},
	{row: "brute force", what: "the owner's success is no fresh start", file: throttle,
		old: "if a.N--; try.Device", new: "if a.N = 0; try.Device", run: "TestTheOwnersSuccessIsNoFreshStart"},
	{row: "brute force", what: "a success gives back one try of its network", file: throttle,
		old: "c.Last = c.Last.Add(-every)\n", new: "c.Last = now\n", run: "TestASuccessLeavesNoCell"},
	{row: "brute force", what: "counted before it is evaluated", file: throttle,
		old: "if failed {\n", new: "if false {\n", run: "TestManyAtOnceAreCountedBeforeTheFirstAnswer"},
	{row: "brute force", what: "a clock that goes back", file: throttle,
		old: "if c.Last.After(now) {\n\t\tc.Last = now", new: "if false {\n\t\tc.Last = now", run: "TestDelays"},
	{row: "brute force", what: "networks, not addresses", file: throttle,
		old: "bits := 24", new: "bits := 32", run: "TestNetwork"},
	{row: "brute force", what: "codes, by person and not by ticket", file: signin,
		old: "Account: \"second\\x00\" + l.User,", new: "Account: \"second\\x00\" + l.User + from.Addr.String(),", run: "TestGuessesOfTheSecondFactor"},
	{row: "brute force", what: "the same words for unknown, disabled and wrong", file: signin,
		old: "a.emit(ctx, u, from, Event{Name: \"signin.password\", Reason: reason})\n\t\treturn Step{}, ErrRefused", new: "a.emit(ctx, u, from, Event{Name: \"signin.password\", Reason: reason})\n\t\tif u.ID == \"\" {\n\t\t\treturn Step{}, ErrTicket\n\t\t}\n\t\treturn Step{}, ErrRefused", run: "TestOneAnswerForAll"},
	{row: "brute force", what: "the time to wait is told", file: "internal/console/admin/signin.go",
		old: `c.Header("Retry-After", strconv.Itoa(`, new: `c.Header("X-Gone", strconv.Itoa(`, in: "test", run: "TestGuessesThroughTheConsole"},
	{row: "brute force", what: "the throttle of the running gateway", file: signin,
		old: "} else if !ok {\n\t\ta.emit(ctx, u, from, Event{Name: \"signin.password\"", new: "} else if !ok && false {\n\t\ta.emit(ctx, u, from, Event{Name: \"signin.password\"", in: "test", run: "TestGuessesThroughTheConsole"},
	{row: "brute force", what: "guesses do not fill the record", file: "internal/audit/repeats/repeats.go",
		old: "if c.n <= First && r.listed < Listed && k != others {", new: "if true {", in: "test", run: "TestGuessesThroughTheConsole"},
}

// people: a part of the rows on passwords, codes, sessions, other sites and identity providers, whose
// defences were all gone through by hand.
var people = []removal{
	{row: "people", what: "four hashes at a time", file: "internal/iam/password/password.go",
		old: "case h.turn <- struct{}{}:", new: "case func() chan struct{} { c := make(chan struct{}, 1); go func() { h.turn <- struct{}{} }(); return c }() <- struct{}{}:", run: "TestOnlySoManyAtOnce"},
	{row: "people", what: "common passwords", file: "internal/iam/account/manage.go",
		old: "if err := password.Check(pw, u.UserName, u.Name, u.Email); err != nil {", new: "if err := password.Check(pw); false {", run: "TestAChangedPasswordEndsAllElse"},
	{row: "people", what: "a code once", file: "internal/iam/totp/totp.go",
		old: "if step <= f.Last {", new: "if step < 0 {", run: "TestOneCodeOnTwoNodesIsTakenOnce"},
	{row: "people", what: "one step of skew", file: "internal/iam/totp/totp.go",
		old: "for s := at - Skew; s <= at+Skew; s++ {", new: "for s := at - 3*Skew; s <= at+3*Skew; s++ {", run: "TestOneStepOfSkewAndNoMore"},
	{row: "people", what: "no session token at rest", file: "internal/iam/session/session.go",
		old: "Hash: hash(token), AMR: in.AMR,", new: "Hash: token.Reveal(), AMR: in.AMR,", run: "TestTheTokenIsNotAtRest"},
	{row: "people", what: "rotation", file: "internal/iam/session/session.go",
		old: "s, err := m.change(ctx, \"rotate\", token, func(s *Session) { s.Hash = hash(fresh) })", new: "s, err := m.change(ctx, \"rotate\", token, func(s *Session) { fresh = token })", run: "TestRotationKillsTheOldTokenAtOnce"},
	{row: "people", what: "what other sites send", file: "internal/server/admin.go",
		old: "s.serveAdmin(ln, cross.Handler(mux), nil)", new: "s.serveAdmin(ln, mux, nil)", in: "test", run: "TestRequestsOfOtherSites"},
	{row: "people", what: "JSON alone", file: "internal/console/api/serve.go",
		old: "err != nil || t != \"application/json\" {", new: "err != nil && t == \"x\" {", run: "TestBodiesThatAreRefused"},
	{row: "people", what: "nothing unrecorded", file: "internal/console/api/serve.go",
		old: "if err := c.note(ctx, c.route.Operation, map[string]string{\"phase\": \"intent\", \"request\": summary(body)}); err != nil {\n\t\treturn nil, err", new: "if err := c.note(ctx, c.route.Operation, map[string]string{\"phase\": \"intent\", \"request\": summary(body)}); err != nil {\n\t\t_ = err", run: "TestNothingChangesUnrecorded"},
	{row: "people", what: "a step-up", file: "internal/console/api/serve.go",
		old: "if v.Allowed && v.StepUp {", new: "if false {", run: "TestWhoMayNot"},
	{row: "people", what: "the signature of an ID token", file: "internal/iam/oidc/token.go",
		old: "return payload, nil\n\t\t}\n\t}", new: "return payload, nil\n\t\t}\n\t\treturn jws.UnsafePayloadWithoutVerification(), nil\n\t}", run: "TestSignaturesRefused"},
	{row: "people", what: "the signature of an assertion", file: "internal/iam/saml/signature.go",
		old: "got, err := v.Validate(own)\n\t\tif err != nil || got == nil {\n\t\t\tcontinue", new: "got, err := v.Validate(own)\n\t\tif err != nil || got == nil {\n\t\t\treturn own, nil", run: "TestSignatureWrapping|TestSignaturesRefused"},
}
