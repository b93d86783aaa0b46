package broker

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"

	"gozon/shared/contract/events"
	"gozon/shared/test/eventstest"
)

// A batch is an array of the messages that are described, and nothing else.
func TestAsyncAPIDescribesBatches(t *testing.T) {
	t.Parallel()
	doc, types := load(t), eventstest.Types(t)
	m := doc.Components.Messages["batch"]
	require.Equal(t, events.BatchContentType, m.ContentType)
	location, raw := untyped(t)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	require.NoError(t, compiler.AddResource(location, raw))
	payload, err := compiler.Compile(location + "#/components/messages/batch/payload")
	require.NoError(t, err)

	valid := func(batch ...events.Envelope) bool {
		encoded, err := json.Marshal(batch)
		require.NoError(t, err)
		v, err := jsonschema.UnmarshalJSON(bytes.NewReader(encoded))
		require.NoError(t, err)
		return payload.Validate(v) == nil
	}
	for _, eventType := range types {
		golden := eventstest.Newest(t, eventType).Envelope
		require.True(t, valid(golden, golden), eventType)
		broken := golden
		broken.Data = json.RawMessage("{}")
		require.False(t, valid(golden, broken), eventType)
	}
	require.False(t, valid())
	example, err := json.Marshal(m.Examples[0].Payload)
	require.NoError(t, err)
	bodies, err := events.Split(example)
	require.NoError(t, err)
	require.Len(t, bodies, 2)
	v, err := jsonschema.UnmarshalJSON(bytes.NewReader(example))
	require.NoError(t, err)
	require.NoError(t, payload.Validate(v))
}
