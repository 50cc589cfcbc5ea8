// Prints the batches of kafka-clients-4.4.0.txt, one "name hex" per line. To make them again, with
// the jars of a Kafka 4.4.0 distribution on the class path:
//   java -cp 'libs/*' GoldenBatches.java > kafka-clients-4.4.0.txt
import java.nio.ByteBuffer;
import java.util.HexFormat;
import org.apache.kafka.common.compress.Compression;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.record.*;
import org.apache.kafka.common.record.internal.*;

public class GoldenBatches {
    static void print(String name, MemoryRecords records) {
        byte[] bytes = new byte[records.sizeInBytes()];
        records.buffer().duplicate().get(bytes);
        System.out.println(name + " " + HexFormat.of().formatHex(bytes));
    }

    static MemoryRecords marker(long offset, ControlRecordType type) {
        return MemoryRecords.withEndTransactionMarker(
            offset, 3000L, 4, 12L, (short) 5, new EndTransactionMarker(type, 6));
    }

    public static void main(String[] args) {
        for (CompressionType codec : CompressionType.values()) {
            MemoryRecordsBuilder batch = MemoryRecords.builder(
                ByteBuffer.allocate(4096), (byte) 2, Compression.of(codec).build(),
                TimestampType.CREATE_TIME, 0L, -1L, 7L, (short) 3, 2147483646, false, -1);
            Header[] headers = {new RecordHeader("h", new byte[] {1}), new RecordHeader("h", (byte[]) null)};
            batch.append(1000L, "k0".getBytes(), "value zero value zero value zero value zero".getBytes(), headers);
            batch.append(1500L, null, "v1".getBytes());
            batch.append(1200L, "k2".getBytes(), (byte[]) null);
            print(codec.name, batch.build());
        }
        MemoryRecordsBuilder stamped = MemoryRecords.builder(
            ByteBuffer.allocate(4096), (byte) 2, Compression.NONE,
            TimestampType.LOG_APPEND_TIME, 42L, 5000L, -1L, (short) -1, -1, false, 9);
        stamped.append(1000L, null, "a".getBytes());
        stamped.append(2000L, null, "b".getBytes());
        print("log-append-time", stamped.build());
        print("abort", marker(77L, ControlRecordType.ABORT));
        print("commit", marker(78L, ControlRecordType.COMMIT));
    }
}
