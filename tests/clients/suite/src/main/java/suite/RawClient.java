package suite;

import java.io.DataInputStream;
import java.io.IOException;
import java.net.Socket;
import java.nio.ByteBuffer;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.ObjectSerializationCache;

/** One connection that sends what no public client can be made to send, in Kafka's own classes. */
final class RawClient implements AutoCloseable {
    private static final int ANSWER_MILLIS_MAX = 30_000;

    private final Socket socket;
    private int correlation;

    RawClient(Broker broker) throws IOException {
        String[] at = broker.bootstrap().split(":");
        this.socket = new Socket(at[0], Integer.parseInt(at[1]));
        socket.setSoTimeout(ANSWER_MILLIS_MAX);
        socket.setTcpNoDelay(true);
    }

    /** What reads an answer's body. */
    interface Body<T> {
        T read(ByteBufferAccessor bytes, short version);
    }

    <T> T call(ApiKeys key, int version, ApiMessage request, Body<T> body) throws IOException {
        send(key, version, request);
        return receive(key, version, body);
    }

    void send(ApiKeys key, int version, ApiMessage request) throws IOException {
        correlation++;
        RequestHeaderData header = new RequestHeaderData()
            .setRequestApiKey(key.id)
            .setRequestApiVersion((short) version)
            .setCorrelationId(correlation)
            .setClientId("raw");
        short headerVersion = key.requestHeaderVersion((short) version);
        ObjectSerializationCache cache = new ObjectSerializationCache();
        int size = header.size(cache, headerVersion) + request.size(cache, (short) version);
        ByteBuffer frame = ByteBuffer.allocate(4 + size);
        frame.putInt(size);
        ByteBufferAccessor writer = new ByteBufferAccessor(frame);
        header.write(writer, cache, headerVersion);
        request.write(writer, cache, (short) version);
        socket.getOutputStream().write(frame.array());
    }

    <T> T receive(ApiKeys key, int version, Body<T> body) throws IOException {
        DataInputStream in = new DataInputStream(socket.getInputStream());
        byte[] frame = new byte[in.readInt()];
        in.readFully(frame);
        ByteBufferAccessor reader = new ByteBufferAccessor(ByteBuffer.wrap(frame));
        ResponseHeaderData header =
            new ResponseHeaderData(reader, key.responseHeaderVersion((short) version));
        Wait.equal(correlation, header.correlationId(), "correlation id");
        T answer = body.read(reader, (short) version);
        Wait.equal(0, reader.remaining(), "bytes behind the answer");
        return answer;
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }
}
