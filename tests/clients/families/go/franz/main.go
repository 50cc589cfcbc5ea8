// Worker of family franz-go.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"families/lines"
)

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

type worker struct {
	seed      kgo.Opt
	admin     *kadm.Client
	producers map[string]*kgo.Client
	member    *kgo.Client
	ended     chan struct{}
}

func main() {
	w := &worker{seed: kgo.SeedBrokers(os.Args[1]), producers: map[string]*kgo.Client{}}
	client, err := kgo.NewClient(w.seed)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	w.admin = kadm.NewClient(client)
	lines.Serve(map[string]lines.Operation{
		"hello": w.hello, "produce": w.produce, "read": w.read, "offsets": w.offsets,
		"create": w.create, "topics": w.topics, "describe": w.describe, "alter": w.alter,
		"grow": w.grow, "trim": w.trim, "delete": w.delete, "groups": w.groups, "group": w.group,
		"committed": w.committed, "forget": w.forget, "join": w.join, "leave": w.leave,
	}, code)
}

func code(err error) *int16 {
	if known := (*kerr.Error)(nil); errors.As(err, &known) {
		return &known.Code
	}
	return nil
}

func within() (context.Context, context.CancelFunc) {
	return context.WithTimeout(context.Background(), 20*time.Second)
}

func (w *worker) hello(lines.Request) (lines.Answer, error) {
	return lines.Answer{"version": lines.Version("github.com/twmb/franz-go")}, nil
}

func (w *worker) produce(r lines.Request) (lines.Answer, error) {
	client := w.producers[r.Codec]
	if client == nil {
		var err error
		client, err = kgo.NewClient(w.seed,
			kgo.RecordPartitioner(kgo.ManualPartitioner()),
			kgo.ProducerBatchCompression(codecs[r.Codec]),
			kgo.ProducerBatchMaxBytes(8_000_000),
			kgo.ProducerLinger(20*time.Millisecond),
			kgo.UnknownTopicRetries(2),
		)
		if err != nil {
			return nil, err
		}
		w.producers[r.Codec] = client
	}
	var records []*kgo.Record
	for _, one := range r.Records {
		record := &kgo.Record{Topic: r.Topic, Partition: one.Partition, Key: one.Key, Value: one.Value}
		if one.Timestamp != nil {
			record.Timestamp = time.UnixMilli(*one.Timestamp)
		}
		for _, header := range one.Headers {
			record.Headers = append(record.Headers, kgo.RecordHeader{Key: header.Name, Value: header.Value})
		}
		records = append(records, record)
	}
	// Not RecordDeliveryTimeout: that counts from a record's timestamp, which may be years ago.
	ctx, cancel := within()
	defer cancel()
	if err := client.ProduceSync(ctx, records...).FirstErr(); err != nil {
		return nil, err
	}
	offsets := []int64{}
	for _, record := range records {
		offsets = append(offsets, record.Offset)
	}
	return lines.Answer{"offsets": offsets}, nil
}

func (w *worker) read(r lines.Request) (lines.Answer, error) {
	client, err := kgo.NewClient(w.seed,
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{
			r.Topic: {r.Partition: kgo.NewOffset().At(r.From)},
		}),
		kgo.ConsumeResetOffset(kgo.NoResetOffset()),
		kgo.FetchMaxWait(100*time.Millisecond),
	)
	if err != nil {
		return nil, err
	}
	defer client.Close()
	got := []lines.Record{}
	for len(got) < r.Count {
		fetches := client.PollFetches(context.Background())
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		for _, record := range fetches.Records() {
			got = append(got, understood(record))
		}
	}
	return lines.Answer{"records": got[:r.Count]}, nil
}

func understood(record *kgo.Record) lines.Record {
	moment := record.Timestamp.UnixMilli()
	headers := []lines.Header{}
	for _, header := range record.Headers {
		headers = append(headers, lines.Header{Name: header.Key, Value: header.Value})
	}
	return lines.Record{
		Partition: record.Partition, Offset: record.Offset, Timestamp: &moment,
		Key: record.Key, Value: record.Value, Headers: headers,
	}
}

func (w *worker) offsets(r lines.Request) (lines.Answer, error) {
	ctx, cancel := within()
	defer cancel()
	first, errFirst := w.admin.ListStartOffsets(ctx, r.Topic)
	end, errEnd := w.admin.ListEndOffsets(ctx, r.Topic)
	at, errAt := w.admin.ListOffsetsAfterMilli(ctx, r.Time, r.Topic)
	of := func(listed kadm.ListedOffsets) int64 { return listed[r.Topic][r.Partition].Offset }
	return lines.Answer{"first": of(first), "end": of(end), "at": of(at)},
		errors.Join(errFirst, errEnd, errAt)
}

func (w *worker) create(r lines.Request) (lines.Answer, error) {
	ctx, cancel := within()
	defer cancel()
	configs := map[string]*string{}
	for key, value := range r.Configs {
		configs[key] = &value
	}
	told, err := w.admin.CreateTopic(ctx, r.Partitions, 1, configs, r.Topic)
	return nil, errors.Join(err, told.Err)
}

func (w *worker) topics(lines.Request) (lines.Answer, error) {
	ctx, cancel := within()
	defer cancel()
	listed, err := w.admin.ListTopics(ctx)
	return lines.Answer{"topics": listed.Names()}, err
}

func (w *worker) describe(r lines.Request) (lines.Answer, error) {
	ctx, cancel := within()
	defer cancel()
	listed, err := w.admin.ListTopics(ctx, r.Topic)
	if err := errors.Join(err, listed[r.Topic].Err); err != nil {
		return nil, err
	}
	told, err := w.admin.DescribeTopicConfigs(ctx, r.Topic)
	if err != nil {
		return nil, err
	}
	configs := map[string]string{}
	for _, config := range told[0].Configs {
		if slices.Contains(r.Keys, config.Key) {
			configs[config.Key] = config.MaybeValue()
		}
	}
	return lines.Answer{"partitions": len(listed[r.Topic].Partitions), "configs": configs}, told[0].Err
}

func (w *worker) alter(r lines.Request) (lines.Answer, error) {
	ctx, cancel := within()
	defer cancel()
	var changes []kadm.AlterConfig
	for key, value := range r.Configs {
		changes = append(changes, kadm.AlterConfig{Op: kadm.SetConfig, Name: key, Value: &value})
	}
	told, err := w.admin.AlterTopicConfigs(ctx, changes, r.Topic)
	if err != nil {
		return nil, err
	}
	return nil, told[0].Err
}

func (w *worker) grow(r lines.Request) (lines.Answer, error) {
	ctx, cancel := within()
	defer cancel()
	told, err := w.admin.UpdatePartitions(ctx, int(r.Partitions), r.Topic)
	return nil, errors.Join(err, told.Error())
}

func (w *worker) trim(r lines.Request) (lines.Answer, error) {
	ctx, cancel := within()
	defer cancel()
	upto := kadm.Offsets{}
	upto.AddOffset(r.Topic, r.Partition, r.Offset, -1)
	told, err := w.admin.DeleteRecords(ctx, upto)
	return nil, errors.Join(err, told.Error())
}

func (w *worker) delete(r lines.Request) (lines.Answer, error) {
	ctx, cancel := within()
	defer cancel()
	told, err := w.admin.DeleteTopic(ctx, r.Topic)
	return nil, errors.Join(err, told.Err)
}

func (w *worker) groups(lines.Request) (lines.Answer, error) {
	ctx, cancel := within()
	defer cancel()
	listed, err := w.admin.ListGroups(ctx)
	return lines.Answer{"groups": listed.Groups()}, err
}

func (w *worker) group(r lines.Request) (lines.Answer, error) {
	ctx, cancel := within()
	defer cancel()
	told, err := w.admin.DescribeGroups(ctx, r.Group)
	group := told[r.Group]
	return lines.Answer{"state": group.State, "members": len(group.Members)}, errors.Join(err, group.Err)
}

func (w *worker) committed(r lines.Request) (lines.Answer, error) {
	ctx, cancel := within()
	defer cancel()
	told, err := w.admin.FetchOffsets(ctx, r.Group)
	offsets := map[int32]int64{}
	for partition, offset := range told[r.Topic] {
		offsets[partition] = offset.At
	}
	return lines.Answer{"offsets": offsets}, err
}

func (w *worker) forget(r lines.Request) (lines.Answer, error) {
	ctx, cancel := within()
	defer cancel()
	told, err := w.admin.DeleteGroup(ctx, r.Group)
	return nil, errors.Join(err, told.Err)
}

func (w *worker) join(r lines.Request) (lines.Answer, error) {
	has := map[int32]bool{}
	tell := func() {
		var partitions []int32
		for partition := range has {
			partitions = append(partitions, partition)
		}
		lines.Assigned(partitions)
	}
	change := func(to bool) func(context.Context, *kgo.Client, map[string][]int32) {
		return func(_ context.Context, _ *kgo.Client, parts map[string][]int32) {
			for _, partition := range parts[r.Topic] {
				if delete(has, partition); to {
					has[partition] = true
				}
			}
			tell()
		}
	}
	client, err := kgo.NewClient(w.seed,
		kgo.ConsumerGroup(r.Group), kgo.ConsumeTopics(r.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()),
		kgo.OnPartitionsAssigned(change(true)),
		kgo.OnPartitionsRevoked(change(false)), kgo.OnPartitionsLost(change(false)),
		kgo.DisableAutoCommit(), kgo.BlockRebalanceOnPoll(),
		kgo.SessionTimeout(6*time.Second), kgo.HeartbeatInterval(500*time.Millisecond),
		kgo.FetchMaxWait(100*time.Millisecond),
	)
	if err != nil {
		return nil, err
	}
	w.member, w.ended = client, make(chan struct{})
	go w.run(client)
	return nil, nil
}

func (w *worker) run(client *kgo.Client) {
	defer close(w.ended)
	for {
		fetches := client.PollFetches(context.Background())
		if fetches.IsClientClosed() {
			return
		}
		var values [][]byte
		for _, record := range fetches.Records() {
			values = append(values, record.Value)
		}
		if len(values) > 0 {
			if err := client.CommitUncommittedOffsets(context.Background()); err != nil {
				fmt.Fprintln(os.Stderr, "commit", err)
			} else {
				lines.Read(values)
			}
		}
		client.AllowRebalance()
	}
}

func (w *worker) leave(lines.Request) (lines.Answer, error) {
	w.member.CloseAllowingRebalance()
	<-w.ended
	return nil, nil
}
