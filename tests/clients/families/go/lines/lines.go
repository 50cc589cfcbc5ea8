// Package lines is the line protocol, for workers in Go: requests in, answers and events out.
package lines

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"runtime/debug"
	"sync"
)

// Record is a record as the driver sends it, and as it wants it back. Bytes are base64 in JSON,
// nil is null.
type Record struct {
	Partition int32    `json:"partition"`
	Offset    int64    `json:"offset"`
	Timestamp *int64   `json:"timestamp"`
	Key       []byte   `json:"key"`
	Value     []byte   `json:"value"`
	Headers   []Header `json:"headers"`
}

// Header is a pair in JSON.
type Header struct {
	Name  string
	Value []byte
}

// MarshalJSON writes a pair.
func (h Header) MarshalJSON() ([]byte, error) { return json.Marshal([]any{h.Name, h.Value}) }

// UnmarshalJSON reads a pair.
func (h *Header) UnmarshalJSON(text []byte) error {
	return json.Unmarshal(text, &[]any{&h.Name, &h.Value})
}

// Request holds the fields of all operations; each takes what it needs.
type Request struct {
	Op         string            `json:"op"`
	Topic      string            `json:"topic"`
	Partition  int32             `json:"partition"`
	Partitions int32             `json:"partitions"`
	From       int64             `json:"from"`
	Offset     int64             `json:"offset"`
	Count      int               `json:"count"`
	Time       int64             `json:"time"`
	Codec      string            `json:"codec"`
	Records    []Record          `json:"records"`
	Configs    map[string]string `json:"configs"`
	Keys       []string          `json:"keys"`
	Group      string            `json:"group"`
}

// Answer is what an operation gives back.
type Answer map[string]any

// Operation carries out one request.
type Operation func(Request) (Answer, error)

var (
	out   = bufio.NewWriter(os.Stdout)
	guard sync.Mutex
)

func say(line any) {
	guard.Lock()
	defer guard.Unlock()
	if err := errors.Join(json.NewEncoder(out).Encode(line), out.Flush()); err != nil {
		os.Exit(1)
	}
}

// Assigned tells what a group member has now.
func Assigned(partitions []int32) {
	if partitions == nil {
		partitions = []int32{}
	}
	say(Answer{"event": "assigned", "partitions": partitions})
}

// Read tells what a group member has read and committed.
func Read(values [][]byte) { say(Answer{"event": "records", "values": values}) }

// Serve answers until the input ends. code finds Kafka's error code in an error of the library.
func Serve(operations map[string]Operation, code func(error) *int16) {
	in := bufio.NewReaderSize(os.Stdin, 1<<16)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil {
			return
		}
		var request Request
		if err := json.Unmarshal(line, &request); err != nil {
			say(Answer{"error": nil, "text": err.Error()})
			continue
		}
		answer, err := operations[request.Op](request)
		switch {
		case err != nil:
			fmt.Fprintln(os.Stderr, request.Op, err)
			say(Answer{"error": code(err), "text": err.Error()})
		case answer == nil:
			say(Answer{"ok": Answer{}})
		default:
			say(Answer{"ok": answer})
		}
	}
}

// Version is the version of a module that this program was built with.
func Version(module string) string {
	info, _ := debug.ReadBuildInfo()
	for _, dep := range info.Deps {
		if dep.Path == module {
			return dep.Version[1:]
		}
	}
	return "unknown"
}
