package suite;

import java.io.BufferedOutputStream;
import java.io.DataInputStream;
import java.io.DataOutputStream;
import java.io.IOException;
import java.net.Socket;
import java.nio.ByteBuffer;
import org.apache.kafka.common.protocol.ApiKeys;
import org.apache.kafka.common.protocol.ApiMessage;
import org.apache.kafka.common.requests.AbstractResponse;
import org.apache.kafka.common.requests.RequestHeader;
import org.apache.kafka.common.requests.RequestUtils;

/** A connection that sends the requests it is given, and nothing else. */
final class Frames implements AutoCloseable {
    private static final int LIMIT_MS = 15_000;

    private final Socket socket;
    private final DataInputStream in;
    private int correlation;

    Frames(Broker broker) throws IOException {
        socket = new Socket("127.0.0.1", Integer.parseInt(broker.bootstrap().split(":")[1]));
        socket.setSoTimeout(LIMIT_MS);
        in = new DataInputStream(socket.getInputStream());
    }

    /** Sends a request and reads its answer; the end of the connection is an {@link IOException}. */
    @SuppressWarnings("unchecked")
    <T extends ApiMessage> T ask(ApiKeys key, int version, ApiMessage request) throws IOException {
        RequestHeader header = new RequestHeader(key, (short) version, "frames", correlation++);
        ByteBuffer bytes = RequestUtils.serialize(
            header.data(), header.headerVersion(), request, (short) version);
        byte[] frame = new byte[bytes.remaining()];
        bytes.get(frame);
        DataOutputStream out = new DataOutputStream(
            new BufferedOutputStream(socket.getOutputStream()));
        out.writeInt(frame.length);
        out.write(frame);
        out.flush();
        byte[] answer = new byte[in.readInt()];
        in.readFully(answer);
        return (T) AbstractResponse.parseResponse(ByteBuffer.wrap(answer), header).data();
    }

    @Override
    public void close() throws IOException {
        socket.close();
    }
}
