package suite;

import java.io.DataInputStream;
import java.io.EOFException;
import java.io.IOException;
import java.io.OutputStream;
import java.net.InetSocketAddress;
import java.net.Socket;
import java.net.SocketException;
import java.net.SocketTimeoutException;
import java.nio.ByteBuffer;
import org.apache.kafka.common.message.RequestHeaderData;
import org.apache.kafka.common.message.ResponseHeaderData;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.protocol.ByteBufferAccessor;
import org.apache.kafka.common.protocol.MessageUtil;

/**
 * One connection that says exactly what a check wants said, in the version it names.
 *
 * <p>Every answer has to carry the correlation id of its request and has to be decoded to its last
 * byte by Kafka's own classes.
 */
final class Wire implements AutoCloseable {
    private static final int LIMIT_MS = 30_000;
    private static final int FRAME_BYTES_MAX = 100 << 20;

    private final Socket socket = new Socket();
    private final DataInputStream in;
    private final OutputStream out;
    private final String clientId;
    private int correlation = 1000;

    Wire(Broker broker) throws IOException {
        this(broker, "acceptance");
    }

    Wire(Broker broker, String clientId) throws IOException {
        int port = Integer.parseInt(broker.bootstrap().split(":")[1]);
        this.clientId = clientId;
        socket.setTcpNoDelay(true);
        socket.setSoTimeout(LIMIT_MS);
        socket.connect(new InetSocketAddress("127.0.0.1", port), LIMIT_MS);
        in = new DataInputStream(socket.getInputStream());
        out = socket.getOutputStream();
    }

    /** Sends a request, waits for its answer and reads it into an empty one. */
    <T extends ApiMessage> T ask(int version, ApiMessage request, T into) throws IOException {
        return receive(version, send(version, request), into);
    }

    /** Sends a request and answers its correlation id. */
    int send(int version, ApiMessage request) throws IOException {
        sendFrame(encode(header(request.apiKey(), version), version, request));
        return correlation;
    }

    /** The header for a request, with a correlation id of its own. */
    RequestHeaderData header(int key, int version) {
        return new RequestHeaderData().setRequestApiKey((short) key)
            .setRequestApiVersion((short) version).setClientId(clientId)
            .setCorrelationId(++correlation);
    }

    /** The bytes of a request, without the length in front. */
    static byte[] encode(RequestHeaderData header, int version, ApiMessage request) {
        ApiKeys key = ApiKeys.forId(request.apiKey());
        ByteBuffer head = MessageUtil.toByteBufferAccessor(
            header, key.requestHeaderVersion((short) version)).buffer();
        ByteBuffer body = MessageUtil.toByteBufferAccessor(request, (short) version).buffer();
        ByteBuffer all = ByteBuffer.allocate(head.remaining() + body.remaining());
        return all.put(head).put(body).array();
    }

    void sendFrame(byte[] payload) throws IOException {
        sendBytes(ByteBuffer.allocate(4 + payload.length).putInt(payload.length).put(payload)
            .array());
    }

    void sendBytes(byte[] bytes) throws IOException {
        out.write(bytes);
        out.flush();
    }

    /** Reads the answer to the request with this correlation id. */
    <T extends ApiMessage> T receive(int version, int expected, T into) throws IOException {
        ApiKeys key = ApiKeys.forId(into.apiKey());
        ByteBufferAccessor bytes = new ByteBufferAccessor(frame());
        ResponseHeaderData header =
            new ResponseHeaderData(bytes, key.responseHeaderVersion((short) version));
        Wait.equal(expected, header.correlationId(), "correlation id of the answer to " + key);
        into.read(bytes, (short) version);
        Wait.equal(0, bytes.remaining(), "bytes behind the answer to " + key + " v" + version);
        return into;
    }

    /** The next answer, undecoded. */
    ByteBuffer frame() throws IOException {
        int length = in.readInt();
        Wait.that(length >= 0 && length <= FRAME_BYTES_MAX, "an answer of " + length + " bytes");
        byte[] payload = new byte[length];
        in.readFully(payload);
        return ByteBuffer.wrap(payload);
    }

    /** Whether the broker has ended this connection, which it must do without another byte. */
    void expectClosed(String after) throws IOException {
        try {
            Wait.equal(-1, in.read(), "what comes after " + after);
        } catch (EOFException | SocketException reset) {
            return;
        } catch (SocketTimeoutException open) {
            throw new AssertionError("the connection is still open after " + after, open);
        }
    }

    /** Nothing has come from the broker, although it answered what was asked after it. */
    void expectSilent() throws IOException {
        Wait.equal(0, in.available(), "bytes from the broker");
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }
}
