package memory_test

import (
	"testing"

	"sallyport.dev/sallyport/internal/iam/document"
	"sallyport.dev/sallyport/internal/iam/throttle"
	"sallyport.dev/sallyport/internal/store/memory"
	"sallyport.dev/sallyport/internal/store/storetest"
)

func TestDocuments(t *testing.T) {
	storetest.Documents(t, func(*testing.T) func() document.Store {
		s := &memory.Documents{}
		return func() document.Store { return s }
	})
}

func TestPurge(t *testing.T) {
	storetest.Purge(t, func(_ *testing.T, c *storetest.Clock) func() storetest.Purged {
		s := &memory.Documents{Now: c.Now}
		return func() storetest.Purged { return s }
	})
}

func TestTries(t *testing.T) {
	storetest.Tries(t, func(_ *testing.T, c *storetest.Clock) func() throttle.Store {
		s := &memory.Tries{Now: c.Now}
		return func() throttle.Store { return s }
	})
}
