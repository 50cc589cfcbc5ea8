// Worker of family sarama.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"os"
	"slices"
	"time"

	"github.com/IBM/sarama"

	"families/lines"
)

var codecs = map[string]sarama.CompressionCodec{
	"none":   sarama.CompressionNone,
	"gzip":   sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy,
	"lz4":    sarama.CompressionLZ4,
	"zstd":   sarama.CompressionZSTD,
}

type worker struct {
	brokers   []string
	client    sarama.Client
	admin     sarama.ClusterAdmin
	producers map[string]sarama.SyncProducer
	member    sarama.ConsumerGroup
	ended     chan struct{}
}

func main() {
	sarama.Logger = log.New(os.Stderr, "", log.Ltime)
	w := &worker{brokers: os.Args[1:], producers: map[string]sarama.SyncProducer{}}
	var err, errAdmin error
	w.client, err = sarama.NewClient(w.brokers, config())
	w.admin, errAdmin = sarama.NewClusterAdmin(w.brokers, config())
	if err := errors.Join(err, errAdmin); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	lines.Serve(map[string]lines.Operation{
		"hello": w.hello, "produce": w.produce, "read": w.read, "offsets": w.offsets,
		"create": w.create, "topics": w.topics, "describe": w.describe, "alter": w.alter,
		"grow": w.grow, "trim": w.trim, "delete": w.delete, "groups": w.groups, "group": w.group,
		"committed": w.committed, "forget": w.forget, "join": w.join, "leave": w.leave,
	}, code)
}

func config() *sarama.Config {
	c := sarama.NewConfig()
	c.Version = sarama.MaxVersion
	c.Metadata.AllowAutoTopicCreation = false
	c.Producer.Partitioner = sarama.NewManualPartitioner
	c.Producer.RequiredAcks = sarama.WaitForAll
	c.Producer.Return.Successes = true
	c.Producer.MaxMessageBytes = 8_000_000
	c.Producer.Flush.Frequency = 20 * time.Millisecond
	c.Consumer.Return.Errors = true
	c.Consumer.MaxWaitTime = 100 * time.Millisecond
	c.Consumer.Offsets.AutoCommit.Enable = false
	c.Consumer.Offsets.Initial = sarama.OffsetOldest
	c.Consumer.Group.Session.Timeout = 6 * time.Second
	c.Consumer.Group.Heartbeat.Interval = 500 * time.Millisecond
	return c
}

func code(err error) *int16 {
	var many sarama.ProducerErrors
	if errors.As(err, &many) {
		err = many[0].Err
	}
	var known sarama.KError
	if errors.As(err, &known) {
		number := int16(known)
		return &number
	}
	return nil
}

func (w *worker) hello(lines.Request) (lines.Answer, error) {
	return lines.Answer{"version": lines.Version("github.com/IBM/sarama")}, nil
}

func (w *worker) produce(r lines.Request) (lines.Answer, error) {
	producer := w.producers[r.Codec]
	if producer == nil {
		c := config()
		c.Producer.Compression = codecs[r.Codec]
		var err error
		if producer, err = sarama.NewSyncProducer(w.brokers, c); err != nil {
			return nil, err
		}
		w.producers[r.Codec] = producer
	}
	var messages []*sarama.ProducerMessage
	for _, one := range r.Records {
		message := &sarama.ProducerMessage{Topic: r.Topic, Partition: one.Partition}
		if one.Key != nil {
			message.Key = sarama.ByteEncoder(one.Key)
		}
		if one.Value != nil {
			message.Value = sarama.ByteEncoder(one.Value)
		}
		if one.Timestamp != nil {
			message.Timestamp = time.UnixMilli(*one.Timestamp)
		}
		for _, header := range one.Headers {
			pair := sarama.RecordHeader{Key: []byte(header.Name), Value: header.Value}
			message.Headers = append(message.Headers, pair)
		}
		messages = append(messages, message)
	}
	if err := producer.SendMessages(messages); err != nil {
		return nil, err
	}
	offsets := []int64{}
	for _, message := range messages {
		offsets = append(offsets, message.Offset)
	}
	return lines.Answer{"offsets": offsets}, nil
}

func (w *worker) read(r lines.Request) (lines.Answer, error) {
	consumer, err := sarama.NewConsumer(w.brokers, config())
	if err != nil {
		return nil, err
	}
	defer consumer.Close()
	partition, err := consumer.ConsumePartition(r.Topic, r.Partition, r.From)
	if err != nil {
		return nil, err
	}
	defer partition.Close()
	got := []lines.Record{}
	for len(got) < r.Count {
		select {
		case message := <-partition.Messages():
			got = append(got, understood(message))
		case err := <-partition.Errors():
			return nil, err
		}
	}
	return lines.Answer{"records": got}, nil
}

func understood(message *sarama.ConsumerMessage) lines.Record {
	moment := message.Timestamp.UnixMilli()
	headers := []lines.Header{}
	for _, header := range message.Headers {
		headers = append(headers, lines.Header{Name: string(header.Key), Value: header.Value})
	}
	return lines.Record{
		Partition: message.Partition, Offset: message.Offset, Timestamp: &moment,
		Key: message.Key, Value: message.Value, Headers: headers,
	}
}

func (w *worker) offsets(r lines.Request) (lines.Answer, error) {
	first, errFirst := w.client.GetOffset(r.Topic, r.Partition, sarama.OffsetOldest)
	end, errEnd := w.client.GetOffset(r.Topic, r.Partition, sarama.OffsetNewest)
	at, errAt := w.client.GetOffset(r.Topic, r.Partition, r.Time)
	return lines.Answer{"first": first, "end": end, "at": at}, errors.Join(errFirst, errEnd, errAt)
}

func (w *worker) create(r lines.Request) (lines.Answer, error) {
	detail := &sarama.TopicDetail{
		NumPartitions: r.Partitions, ReplicationFactor: 1, ConfigEntries: map[string]*string{},
	}
	for key, value := range r.Configs {
		detail.ConfigEntries[key] = &value
	}
	return nil, w.admin.CreateTopic(r.Topic, detail, false)
}

func (w *worker) topics(lines.Request) (lines.Answer, error) {
	listed, err := w.admin.ListTopics()
	names := []string{}
	for name := range listed {
		names = append(names, name)
	}
	return lines.Answer{"topics": names}, err
}

func (w *worker) describe(r lines.Request) (lines.Answer, error) {
	told, err := w.admin.DescribeTopics([]string{r.Topic})
	if err != nil {
		return nil, err
	}
	if told[0].Err != sarama.ErrNoError {
		return nil, told[0].Err
	}
	entries, err := w.admin.DescribeConfig(sarama.ConfigResource{
		Type: sarama.TopicResource, Name: r.Topic, ConfigNames: r.Keys,
	})
	configs := map[string]string{}
	for _, entry := range entries {
		if slices.Contains(r.Keys, entry.Name) {
			configs[entry.Name] = entry.Value
		}
	}
	return lines.Answer{"partitions": len(told[0].Partitions), "configs": configs}, err
}

func (w *worker) alter(r lines.Request) (lines.Answer, error) {
	changes := map[string]sarama.IncrementalAlterConfigsEntry{}
	for key, value := range r.Configs {
		changes[key] = sarama.IncrementalAlterConfigsEntry{
			Operation: sarama.IncrementalAlterConfigsOperationSet, Value: &value,
		}
	}
	return nil, w.admin.IncrementalAlterConfig(sarama.TopicResource, r.Topic, changes, false)
}

func (w *worker) grow(r lines.Request) (lines.Answer, error) {
	return nil, w.admin.CreatePartitions(r.Topic, r.Partitions, nil, false)
}

func (w *worker) trim(r lines.Request) (lines.Answer, error) {
	return nil, w.admin.DeleteRecords(r.Topic, map[int32]int64{r.Partition: r.Offset})
}

func (w *worker) delete(r lines.Request) (lines.Answer, error) {
	return nil, w.admin.DeleteTopic(r.Topic)
}

func (w *worker) groups(lines.Request) (lines.Answer, error) {
	listed, err := w.admin.ListConsumerGroups()
	names := []string{}
	for name := range listed {
		names = append(names, name)
	}
	return lines.Answer{"groups": names}, err
}

func (w *worker) group(r lines.Request) (lines.Answer, error) {
	told, err := w.admin.DescribeConsumerGroups([]string{r.Group})
	if err != nil {
		return nil, err
	}
	if told[0].Err != sarama.ErrNoError {
		return nil, told[0].Err
	}
	return lines.Answer{"state": told[0].State, "members": len(told[0].Members)}, nil
}

func (w *worker) committed(r lines.Request) (lines.Answer, error) {
	told, err := w.admin.ListConsumerGroupOffsets(r.Group, nil)
	if err != nil {
		return nil, err
	}
	offsets := map[int32]int64{}
	for partition, block := range told.Blocks[r.Topic] {
		offsets[partition] = block.Offset
	}
	return lines.Answer{"offsets": offsets}, nil
}

func (w *worker) forget(r lines.Request) (lines.Answer, error) {
	return nil, w.admin.DeleteConsumerGroup(r.Group)
}

// member is the handler of a group: sarama makes a session for every generation.
type member struct{ topic string }

func (m member) Setup(session sarama.ConsumerGroupSession) error {
	lines.Assigned(session.Claims()[m.topic])
	return nil
}

func (m member) Cleanup(sarama.ConsumerGroupSession) error {
	lines.Assigned(nil)
	return nil
}

func (m member) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		session.MarkMessage(message, "")
		session.Commit()
		lines.Read([][]byte{message.Value})
	}
	return nil
}

func (w *worker) join(r lines.Request) (lines.Answer, error) {
	group, err := sarama.NewConsumerGroup(w.brokers, r.Group, config())
	if err != nil {
		return nil, err
	}
	w.member, w.ended = group, make(chan struct{})
	go func() {
		for err := range group.Errors() {
			fmt.Fprintln(os.Stderr, "group", err)
		}
	}()
	go func() {
		defer close(w.ended)
		for {
			err := group.Consume(context.Background(), []string{r.Topic}, member{r.Topic})
			if errors.Is(err, sarama.ErrClosedConsumerGroup) {
				return
			}
			if err != nil {
				fmt.Fprintln(os.Stderr, "consume", err)
			}
		}
	}()
	return nil, nil
}

func (w *worker) leave(lines.Request) (lines.Answer, error) {
	err := w.member.Close()
	<-w.ended
	return nil, err
}
