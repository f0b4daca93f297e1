// Package scim keeps people and groups as a company's directory has them (SCIM 2.0: RFC 7643, RFC 7644).
// It speaks no HTTP: package console/provision does.
//
// What it promises: a change is made whole or not at all; what a client wrote reads back, but for what is
// read-only or unknown; filters and paths are bounded in length, depth and work; nothing that is sent
// gives a role by itself; somebody who is switched off or deleted has no session from that moment, and no
// key within two seconds on every node.
package scim

import (
	"slices"
	"strings"
)

// Schemas and messages (RFC 7643 section 8.7, RFC 7644 section 8.2).
const (
	UserSchema       = "urn:ietf:params:scim:schemas:core:2.0:User"
	EnterpriseSchema = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User"
	GroupSchema      = "urn:ietf:params:scim:schemas:core:2.0:Group"

	listMessage   = "urn:ietf:params:scim:api:messages:2.0:ListResponse"
	errorMessage  = "urn:ietf:params:scim:api:messages:2.0:Error"
	patchMessage  = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
	searchMessage = "urn:ietf:params:scim:api:messages:2.0:SearchRequest"
)

// Attribute describes one attribute (RFC 7643 section 2.2).
type Attribute struct {
	Name        string      `json:"name"`
	Type        string      `json:"type"` // string, boolean, complex, reference, dateTime
	Multi       bool        `json:"multiValued"`
	Description string      `json:"description"`
	Required    bool        `json:"required"`
	CaseExact   bool        `json:"caseExact"`
	Mutability  string      `json:"mutability"`
	Returned    string      `json:"returned"`
	Uniqueness  string      `json:"uniqueness"`
	Canonical   []string    `json:"canonicalValues,omitempty"`
	References  []string    `json:"referenceTypes,omitempty"`
	Sub         []Attribute `json:"subAttributes,omitempty"`
}

// Schema is one of the documents under /Schemas.
type Schema struct {
	ID          string      `json:"id"`
	Name        string      `json:"name"`
	Description string      `json:"description"`
	Attributes  []Attribute `json:"attributes"`
}

func str(name string, more ...func(*Attribute)) Attribute {
	a := Attribute{Name: name, Type: "string", Mutability: "readWrite", Returned: "default", Uniqueness: "none", Description: name}
	for _, f := range more {
		f(&a)
	}
	return a
}

func required(a *Attribute)  { a.Required = true }
func unique(a *Attribute)    { a.Uniqueness = "server" }
func exact(a *Attribute)     { a.CaseExact = true }
func readOnly(a *Attribute)  { a.Mutability = "readOnly" }
func immutable(a *Attribute) { a.Mutability = "immutable" }
func boolean(a *Attribute)   { a.Type = "boolean" }
func multi(a *Attribute)     { a.Multi = true }
func reference(types ...string) func(*Attribute) {
	return func(a *Attribute) { a.Type, a.References, a.CaseExact = "reference", types, true }
}

func about(text string) func(*Attribute) { return func(a *Attribute) { a.Description = text } }

func complexType(sub ...Attribute) func(*Attribute) {
	return func(a *Attribute) { a.Type, a.Sub = "complex", sub }
}

// plural is the usual shape of what somebody has several of (RFC 7643 section 2.4).
func plural(name string, more ...Attribute) Attribute {
	sub := append([]Attribute{str("value"), str("display"), str("type"), str("primary", boolean)}, more...)
	return str(name, multi, complexType(sub...))
}

// Users is the schema of people; Enterprise the extension; Groups that of groups. The password is not in
// it: people of a directory sign in there.
var (
	Users = Schema{UserSchema, "User", "A person", []Attribute{
		str("userName", required, unique, about("What the person is called here; one of a kind in the tenant, letter case apart")),
		str("name", complexType(str("formatted"), str("familyName"), str("givenName"), str("middleName"), str("honorificPrefix"), str("honorificSuffix"))),
		str("displayName"), str("nickName"), str("profileUrl", reference("external")), str("title"), str("userType"), str("preferredLanguage"), str("locale"), str("timezone"),
		str("active", boolean, about("False: no session, no key and no sign-in")),
		plural("emails"), plural("phoneNumbers"), plural("ims"), plural("photos"),
		str("addresses", multi, complexType(str("formatted"), str("streetAddress"), str("locality"), str("region"), str("postalCode"), str("country"), str("type"), str("primary", boolean))),
		str("groups", multi, readOnly, complexType(str("value", readOnly), str("$ref", readOnly, reference("Group")), str("display", readOnly), str("type", readOnly))),
		plural("entitlements"), plural("roles"), plural("x509Certificates"),
	}}
	Enterprise = Schema{EnterpriseSchema, "EnterpriseUser", "A person of a company", []Attribute{
		str("employeeNumber"), str("costCenter"), str("organization"), str("division"), str("department"),
		str("manager", complexType(str("value"), str("$ref", reference("User")), str("displayName", readOnly))),
	}}
	Groups = Schema{GroupSchema, "Group", "A group of people", []Attribute{
		str("displayName", required, unique),
		str("members", multi, complexType(str("value", immutable), str("$ref", immutable, reference("User")), str("display", readOnly), str("type", immutable))),
	}}
)

// common are the attributes that every resource has (RFC 7643 section 3.1).
var common = []Attribute{
	str("schemas", multi, reference("uri"), readOnly),
	str("id", readOnly, exact, unique), str("externalId", exact),
	str("meta", readOnly, complexType(str("resourceType", readOnly, exact), str("created", readOnly, func(a *Attribute) { a.Type = "dateTime" }),
		str("lastModified", readOnly, func(a *Attribute) { a.Type = "dateTime" }), str("location", readOnly, exact), str("version", readOnly, exact))),
}

// kind is what there is to know of Users or of Groups.
type kind struct {
	core      Schema
	extension *Schema
}

var (
	userKind  = kind{Users, &Enterprise}
	groupKind = kind{Groups, nil}
)

// find looks an attribute up, letter case apart (RFC 7643 section 2.1).
func find(list []Attribute, name string) *Attribute {
	i := slices.IndexFunc(list, func(a Attribute) bool { return strings.EqualFold(a.Name, name) })
	if i < 0 {
		return nil
	}
	return &list[i]
}

// attribute resolves a name, which may begin with its schema, and says which extension it is of.
func (k *kind) attribute(name string) (a *Attribute, extension string) {
	if i := strings.LastIndexByte(name, ':'); i >= 0 {
		urn, rest := name[:i], name[i+1:]
		switch {
		case strings.EqualFold(urn, k.core.ID):
			name = rest
		case k.extension != nil && strings.EqualFold(urn, k.extension.ID):
			return find(k.extension.Attributes, rest), k.extension.ID
		default:
			return nil, ""
		}
	}
	if a := find(common, name); a != nil {
		return a, ""
	}
	return find(k.core.Attributes, name), ""
}
