package provision

import (
	"context"
	"net/http"
	"slices"

	"sallyport.dev/sallyport/internal/iam/scim"
)

// resources are the operations on one kind.
type resources struct {
	list, search, create, get, replace, patch, remove func(*call) error
}

// acts are what package scim does with a kind.
type acts struct {
	path, event string
	query       func(ctx context.Context, tenant string, q scim.Query) (*scim.List, error)
	create      func(ctx context.Context, tenant string, in map[string]any) (scim.Result, error)
	get         func(ctx context.Context, tenant, id string) (scim.Resource, int64, error)
	replace     func(ctx context.Context, tenant, id, ifMatch string, in map[string]any) (scim.Result, error)
	patch       func(ctx context.Context, tenant, id, ifMatch string, ops []scim.Operation) (scim.Result, error)
	remove      func(ctx context.Context, tenant, id, ifMatch string) (scim.Result, error)
}

func (h *handler) users() resources {
	s := h.o.Service
	return acts{"/Users", "scim.users.", s.Users, s.CreateUser, s.User, s.ReplaceUser, s.PatchUser, s.DeleteUser}.resources()
}

func (h *handler) groups() resources {
	s := h.o.Service
	return acts{"/Groups", "scim.groups.", s.Groups, s.CreateGroup, s.Group, s.ReplaceGroup, s.PatchGroup, s.DeleteGroup}.resources()
}

func (a acts) resources() resources {
	list := func(c *call, q scim.Query) error {
		l, err := a.query(c.r.Context(), c.client.Tenant, q)
		if err == nil {
			c.write(http.StatusOK, l.Body())
		}
		return err
	}
	// changed answers with the resource as it is now.
	changed := func(c *call, status int, event string, act func() (scim.Result, error)) error {
		res, err := c.change(a.event+event, act)
		if err != nil {
			return err
		}
		c.w.Header().Set("ETag", scim.Tag(res.Revision))
		if m, ok := res.Resource["meta"].(map[string]any); ok {
			c.w.Header().Set("Location", m["location"].(string))
		}
		v := c.r.URL.Query()
		c.write(status, scim.Select(res.Resource, names(v.Get("attributes")), names(v.Get("excludedAttributes"))))
		return nil
	}
	return resources{
		list: func(c *call) error {
			q, err := c.query()
			if err != nil {
				return err
			}
			return list(c, q)
		},
		search: func(c *call) error {
			in, err := c.body()
			if err != nil {
				return err
			}
			q, err := scim.Search(in)
			if err != nil {
				return err
			}
			return list(c, q)
		},
		get: func(c *call) error {
			res, rev, err := a.get(c.r.Context(), c.client.Tenant, c.r.PathValue("id"))
			if err != nil {
				return err
			}
			c.w.Header().Set("ETag", scim.Tag(rev))
			if m := c.r.Header.Get("If-None-Match"); m != "" && scim.Match(m, rev) {
				c.w.WriteHeader(http.StatusNotModified)
				return nil
			}
			v := c.r.URL.Query()
			c.write(http.StatusOK, scim.Select(res, names(v.Get("attributes")), names(v.Get("excludedAttributes"))))
			return nil
		},
		create: func(c *call) error {
			in, err := c.body()
			if err != nil {
				return err
			}
			return changed(c, http.StatusCreated, "create", func() (scim.Result, error) { return a.create(c.r.Context(), c.client.Tenant, in) })
		},
		replace: func(c *call) error {
			in, err := c.body()
			if err != nil {
				return err
			}
			return changed(c, http.StatusOK, "replace", func() (scim.Result, error) {
				return a.replace(c.r.Context(), c.client.Tenant, c.r.PathValue("id"), c.r.Header.Get("If-Match"), in)
			})
		},
		patch: func(c *call) error {
			in, err := c.body()
			if err != nil {
				return err
			}
			ops, err := scim.Patch(in)
			if err != nil {
				return err
			}
			return changed(c, http.StatusOK, "patch", func() (scim.Result, error) {
				return a.patch(c.r.Context(), c.client.Tenant, c.r.PathValue("id"), c.r.Header.Get("If-Match"), ops)
			})
		},
		remove: func(c *call) error {
			_, err := c.change(a.event+"delete", func() (scim.Result, error) {
				return a.remove(c.r.Context(), c.client.Tenant, c.r.PathValue("id"), c.r.Header.Get("If-Match"))
			})
			if err == nil {
				c.w.WriteHeader(http.StatusNoContent)
			}
			return err
		},
	}
}

// config says what is supported (RFC 7643 section 5).
func (h *handler) config(c *call) error {
	yes, no := map[string]any{"supported": true}, map[string]any{"supported": false}
	c.write(http.StatusOK, map[string]any{
		"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:ServiceProviderConfig"},
		"patch":   yes, "sort": yes, "etag": yes, "changePassword": no,
		"bulk":   map[string]any{"supported": false, "maxOperations": 0, "maxPayloadSize": 0},
		"filter": map[string]any{"supported": true, "maxResults": scim.MaxCount},
		"authenticationSchemes": []any{map[string]any{
			"type": "oauthbearertoken", "name": "Bearer token", "description": "A key of the gateway made for SCIM", "primary": true,
		}},
		"meta": map[string]any{"resourceType": "ServiceProviderConfig", "location": h.o.Service.Base() + "/ServiceProviderConfig"},
	})
	return nil
}

// one answers with a list, or with the one that the path names.
func (c *call) one(all []map[string]any) error {
	if id := c.r.PathValue("id"); id != "" {
		i := slices.IndexFunc(all, func(m map[string]any) bool { return m["id"] == id })
		if i < 0 {
			return &scim.Error{Status: http.StatusNotFound, Detail: "There is no such resource."}
		}
		c.write(http.StatusOK, all[i])
		return nil
	}
	l := scim.List{Total: len(all), StartIndex: 1}
	for _, m := range all {
		l.Resources = append(l.Resources, m)
	}
	c.write(http.StatusOK, l.Body())
	return nil
}

func (h *handler) types(c *call) error {
	meta := func(id string) map[string]any {
		return map[string]any{"resourceType": "ResourceType", "location": h.o.Service.Base() + "/ResourceTypes/" + id}
	}
	schemas := []string{"urn:ietf:params:scim:schemas:core:2.0:ResourceType"}
	return c.one([]map[string]any{
		{"schemas": schemas, "id": "User", "name": "User", "description": "A person", "endpoint": "/Users", "schema": scim.UserSchema, "meta": meta("User"),
			"schemaExtensions": []any{map[string]any{"schema": scim.EnterpriseSchema, "required": false}}},
		{"schemas": schemas, "id": "Group", "name": "Group", "description": "A group of people", "endpoint": "/Groups", "schema": scim.GroupSchema, "meta": meta("Group")},
	})
}

func (h *handler) schemas(c *call) error {
	var all []map[string]any
	for _, s := range []scim.Schema{scim.Users, scim.Enterprise, scim.Groups} {
		all = append(all, map[string]any{
			"schemas": []string{"urn:ietf:params:scim:schemas:core:2.0:Schema"}, "id": s.ID, "name": s.Name, "description": s.Description, "attributes": s.Attributes,
			"meta": map[string]any{"resourceType": "Schema", "location": h.o.Service.Base() + "/Schemas/" + s.ID},
		})
	}
	return c.one(all)
}
