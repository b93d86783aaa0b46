package broker

import (
	"bytes"
	"encoding/json"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"github.com/stretchr/testify/require"
	"go.yaml.in/yaml/v3"

	"gozon/shared/contract/events"
	"gozon/shared/test/eventstest"
)

const asyncAPI = "../../../docs/asyncapi.yaml"

// document has the fields of AsyncAPI 3.0 that docs/asyncapi.yaml uses.
type document struct {
	AsyncAPI string `yaml:"asyncapi"`
	Info     struct {
		Title, Version, Description string
		License                     struct{ Name string }
	}
	DefaultContentType string `yaml:"defaultContentType"`
	Servers            map[string]struct {
		Host, Protocol, Description string
		ProtocolVersion             string `yaml:"protocolVersion"`
		Security                    []struct{ Type string }
	}
	Channels map[string]struct {
		Address, Description string
		Messages             map[string]ref
		Bindings             channelBinding
	}
	Operations map[string]operation
	Components struct {
		ChannelBindings   map[string]channelBinding `yaml:"channelBindings"`
		OperationBindings map[string]struct {
			AMQP operationBinding
		} `yaml:"operationBindings"`
		MessageTraits map[string]struct {
			ContentType   string                                 `yaml:"contentType"`
			CorrelationID struct{ Location, Description string } `yaml:"correlationId"`
		} `yaml:"messageTraits"`
		Messages map[string]messageObject
	}
}

type ref struct {
	Ref string `yaml:"$ref"`
}

type operation struct {
	Action   string
	Channel  ref
	Messages []ref
	Bindings ref
}

type operationBinding struct {
	UserID                    string `yaml:"userId"`
	DeliveryMode              int    `yaml:"deliveryMode"`
	Mandatory, Timestamp, Ack bool
	BindingVersion            string `yaml:"bindingVersion"`
}

type messageObject struct {
	Name, Summary string
	ContentType   string `yaml:"contentType"`
	Traits        []ref
	Bindings      struct {
		AMQP struct {
			MessageType    string `yaml:"messageType"`
			BindingVersion string `yaml:"bindingVersion"`
		}
	}
	Payload  any
	Examples []struct{ Payload any }
}

type channelBinding struct {
	Ref  string `yaml:"$ref,omitempty"`
	AMQP struct {
		Is              string
		Exchange, Queue entity
		BindingVersion  string `yaml:"bindingVersion"`
	}
}

type entity struct {
	Name, Type         string
	Durable, Exclusive bool
	AutoDelete         bool `yaml:"autoDelete"`
}

// load reads the document. An unknown field is an error.
func load(t *testing.T) document {
	t.Helper()
	source, err := os.ReadFile(asyncAPI)
	require.NoError(t, err)
	d := yaml.NewDecoder(bytes.NewReader(source))
	d.KnownFields(true)
	var doc document
	require.NoError(t, d.Decode(&doc))
	return doc
}

func TestAsyncAPIDescribesTheTopology(t *testing.T) {
	t.Parallel()
	doc := load(t)
	require.Equal(t, "3.0.0", doc.AsyncAPI)
	require.NotEmpty(t, doc.Info.Title)
	require.NotEmpty(t, doc.Info.Version)
	require.NotEmpty(t, doc.Servers["rabbitmq"].Host)
	require.Equal(t, "amqp", doc.Servers["rabbitmq"].Protocol)

	var exchange channelBinding
	exchange.AMQP.Is, exchange.AMQP.BindingVersion = "routingKey", "0.3.0"
	exchange.AMQP.Exchange = entity{Name: Exchange, Type: "topic", Durable: true}
	require.Equal(t, map[string]channelBinding{"exchange": exchange}, doc.Components.ChannelBindings)

	types := eventstest.Types(t)
	for _, eventType := range types {
		channel := doc.Channels[eventType]
		require.Equal(t, eventType, channel.Address)
		require.Equal(t, messageRefs([]string{eventType}), channel.Messages, eventType)
		require.Equal(t, channelBinding{Ref: "#/components/channelBindings/exchange"}, channel.Bindings, eventType)
	}
	queues := map[string]map[string]ref{Unrouted: nil}
	for queue, f := range flows {
		queues[queue], queues[queue+DeadSuffix] = messageRefs(matching(types, f)), nil
		for _, name := range []string{Exchange, f.key, DeadExchange, RetryExchange} {
			require.Contains(t, doc.Channels[queue].Description, name)
		}
	}
	for queue, consumed := range queues {
		var binding channelBinding
		binding.AMQP.Is, binding.AMQP.BindingVersion = "queue", "0.3.0"
		binding.AMQP.Queue = entity{Name: queue, Durable: true}
		require.Equal(t, queue, doc.Channels[queue].Address)
		require.Equal(t, consumed, doc.Channels[queue].Messages, queue)
		require.Equal(t, binding, doc.Channels[queue].Bindings, queue)
	}
	require.Len(t, doc.Channels, len(types)+len(queues))
}

func TestAsyncAPIDescribesSendersAndReceivers(t *testing.T) {
	t.Parallel()
	types := eventstest.Types(t)
	want := map[string]operation{}
	for _, eventType := range types {
		channel := "#/channels/" + eventType
		want[path.Base(eventstest.Newest(t, eventType).Source)+".sends."+eventType] = operation{
			Action: "send", Channel: ref{channel}, Messages: []ref{{channel + "/messages/" + eventType}, {channel + "/messages/batch"}},
			Bindings: ref{"#/components/operationBindings/" + flowOf(eventType).producer},
		}
	}
	for queue, f := range flows {
		channel := "#/channels/" + queue
		receive := operation{
			Action: "receive", Channel: ref{channel}, Messages: []ref{{channel + "/messages/batch"}},
			Bindings: ref{"#/components/operationBindings/receive"},
		}
		for _, eventType := range matching(types, f) {
			receive.Messages = append(receive.Messages, ref{channel + "/messages/" + eventType})
		}
		want[f.consumer+".receives."+queue] = receive
	}
	doc := load(t)
	operationBindings := doc.Components.OperationBindings
	require.Len(t, operationBindings, 3)
	for _, f := range flows {
		send := operationBinding{UserID: f.producer, DeliveryMode: 2, Mandatory: true, Timestamp: true, BindingVersion: "0.3.0"}
		require.Equal(t, send, operationBindings[f.producer].AMQP)
	}
	require.Equal(t, operationBinding{Ack: true, BindingVersion: "0.3.0"}, operationBindings["receive"].AMQP)
	got := doc.Operations
	require.Len(t, got, len(want))
	for name, operation := range want {
		require.ElementsMatch(t, operation.Messages, got[name].Messages, name)
		operation.Messages = got[name].Messages
		require.Equal(t, operation, got[name], name)
	}
}

func TestAsyncAPIMessagesMatchTheGoldens(t *testing.T) {
	t.Parallel()
	doc := load(t)
	trait := doc.Components.MessageTraits["cloudevent"]
	require.Equal(t, events.ContentType, trait.ContentType)
	require.Equal(t, events.ContentType, doc.DefaultContentType)
	require.Equal(t, "$message.payload#/subject", trait.CorrelationID.Location)

	location, raw := untyped(t)
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	require.NoError(t, compiler.AddResource(location, raw))

	types := eventstest.Types(t)
	require.Len(t, doc.Components.Messages, len(types)+1)
	for _, eventType := range types {
		m := doc.Components.Messages[eventType]
		require.Equal(t, eventType, m.Name)
		require.Equal(t, eventType, m.Bindings.AMQP.MessageType)
		require.Equal(t, []ref{{"#/components/messageTraits/cloudevent"}}, m.Traits)
		require.Len(t, m.Examples, 1)
		example, err := json.Marshal(m.Examples[0].Payload)
		require.NoError(t, err)
		require.JSONEq(t, string(eventstest.Newest(t, eventType).Body), string(example))

		payload, err := compiler.Compile(location + "#/components/messages/" + eventType + "/payload")
		require.NoError(t, err)
		for _, other := range types {
			golden, err := jsonschema.UnmarshalJSON(bytes.NewReader(eventstest.Newest(t, other).Body))
			require.NoError(t, err)
			require.Equal(t, eventType == other, payload.Validate(golden) == nil, "%s as %s", other, eventType)
		}
	}
}

func TestAsyncAPIReferencesResolve(t *testing.T) {
	t.Parallel()
	_, root := untyped(t)
	found := 0
	var walk func(any)
	walk = func(v any) {
		switch v := v.(type) {
		case map[string]any:
			if target, ok := v["$ref"].(string); ok {
				found++
				require.True(t, resolves(root, target), target)
			}
			for _, child := range v {
				walk(child)
			}
		case []any:
			for _, child := range v {
				walk(child)
			}
		}
	}
	walk(root)
	require.NotZero(t, found)
}

func resolves(root any, target string) bool {
	pointer, internal := strings.CutPrefix(target, "#/")
	if !internal {
		_, err := os.Stat(filepath.Join(filepath.Dir(asyncAPI), target))
		return err == nil
	}
	for key := range strings.SplitSeq(pointer, "/") {
		object, _ := root.(map[string]any)
		if root = object[key]; root == nil {
			return false
		}
	}
	return true
}

// untyped returns the path of the document and its content as untyped values.
func untyped(t *testing.T) (location string, doc any) {
	t.Helper()
	location, err := filepath.Abs(asyncAPI)
	require.NoError(t, err)
	source, err := os.ReadFile(location)
	require.NoError(t, err)
	require.NoError(t, yaml.Unmarshal(source, &doc))
	return location, doc
}

// matching returns the types of a flow.
func matching(types []string, f flow) (matched []string) {
	for _, eventType := range types {
		if f.matches(eventType) {
			matched = append(matched, eventType)
		}
	}
	return matched
}

// messageRefs returns references to the message objects of types, and to batches.
func messageRefs(types []string) map[string]ref {
	refs := map[string]ref{"batch": {"#/components/messages/batch"}}
	for _, eventType := range types {
		refs[eventType] = ref{"#/components/messages/" + eventType}
	}
	return refs
}
