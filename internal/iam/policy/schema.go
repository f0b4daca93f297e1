package policy

import (
	_ "embed"
	"fmt"

	cedar "github.com/cedar-policy/cedar-go"
	"github.com/cedar-policy/cedar-go/x/exp/schema"
	"github.com/cedar-policy/cedar-go/x/exp/schema/resolved"
	"github.com/cedar-policy/cedar-go/x/exp/schema/validate"
)

// Schema is what a policy may speak of, as Cedar schema text, for people and for other tools.
//
//go:embed schema.cedarschema
var Schema string

// Entity types.
const (
	typeTenant   = cedar.EntityType("Tenant")
	typeTeam     = cedar.EntityType("Team")
	typeRole     = cedar.EntityType("Role")
	typeGroup    = cedar.EntityType("Group")
	typeUser     = cedar.EntityType("User")
	typeService  = cedar.EntityType("Service")
	typeAgent    = cedar.EntityType("Agent")
	typeKey      = cedar.EntityType("Key")
	typeUpstream = cedar.EntityType("Upstream")
	typeEndpoint = cedar.EntityType("Endpoint")
	typeModel    = cedar.EntityType("Model")
	typeTool     = cedar.EntityType("Tool")
)

// Action is what a caller wants to do.
type Action uint8

const (
	Call    Action = iota // send a request to a provider
	UseTool               // let the model call a tool
	actions               // how many there are
)

var actionUIDs = [actions]cedar.EntityUID{
	Call:    cedar.NewEntityUID("Action", "call"),
	UseTool: cedar.NewEntityUID("Action", "use_tool"),
}

func (a Action) String() string {
	if a < actions {
		return string(actionUIDs[a].ID)
	}
	return "unknown"
}

// ParseAction is the inverse of String.
func ParseAction(s string) (Action, bool) {
	for a := range actions {
		if a.String() == s {
			return a, true
		}
	}
	return 0, false
}

// rules is the schema, read once. names are the attributes of any entity type.
var rules, names = mustSchema()

func mustSchema() (*resolved.Schema, map[string]bool) {
	var s schema.Schema
	s.SetFilename("schema.cedarschema")
	if err := s.UnmarshalCedar([]byte(Schema)); err != nil {
		panic(fmt.Sprintf("policy: the built-in schema cannot be read: %v", err))
	}
	r, err := s.Resolve()
	if err != nil {
		panic(fmt.Sprintf("policy: the built-in schema does not hold together: %v", err))
	}
	names := map[string]bool{}
	for _, e := range r.Entities {
		for n := range e.Shape {
			names[string(n)] = true
		}
	}
	return r, names
}

var validator = validate.New(rules, validate.WithStrict())
