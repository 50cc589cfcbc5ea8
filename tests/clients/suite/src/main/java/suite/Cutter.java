package suite;

import java.io.IOException;
import java.io.InputStream;
import java.io.OutputStream;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;
import java.util.Random;
import java.util.concurrent.atomic.AtomicInteger;

/** Passes connections on to a broker, and resets each after a random number of bytes. */
final class Cutter implements AutoCloseable {
    private final ServerSocket listener;
    private final int target;
    private final int bytesMax;
    private final Random random;
    private final AtomicInteger cuts = new AtomicInteger();
    private volatile boolean cutting;

    Cutter(int target, int bytesMax, long seed) throws IOException {
        this.listener = new ServerSocket(0, 50, InetAddress.getByName("127.0.0.1"));
        this.target = target;
        this.bytesMax = bytesMax;
        this.random = new Random(seed);
        start(this::accept);
    }

    int port() {
        return listener.getLocalPort();
    }

    /** Connections reset so far. */
    int cuts() {
        return cuts.get();
    }

    /** Whether to cut; at first, connections last. */
    void cut(boolean on) {
        cutting = on;
    }

    private static void start(Runnable task) {
        Thread thread = new Thread(task);
        thread.setDaemon(true);
        thread.start();
    }

    private void accept() {
        while (!listener.isClosed()) {
            try {
                Socket client = listener.accept();
                Socket broker = new Socket(InetAddress.getByName("127.0.0.1"), target);
                client.setTcpNoDelay(true);
                broker.setTcpNoDelay(true);
                int requests = random.nextInt(bytesMax);
                int responses = random.nextInt(bytesMax);
                start(() -> pass(client, broker, requests));
                start(() -> pass(broker, client, responses));
            } catch (IOException refused) { // the client tries again
                continue;
            }
        }
    }

    /** Copies until the allowance is used up; the last piece is cut in its middle. */
    private void pass(Socket from, Socket to, int allowance) {
        byte[] buffer = new byte[16 * 1024];
        try {
            InputStream in = from.getInputStream();
            OutputStream out = to.getOutputStream();
            int left = allowance;
            int length = in.read(buffer);
            while (length >= 0) {
                if (cutting && length > left) {
                    out.write(buffer, 0, left);
                    cuts.incrementAndGet();
                    break;
                }
                out.write(buffer, 0, length);
                left = Math.max(0, left - length);
                length = in.read(buffer);
            }
        } catch (IOException closed) { // by the other direction, or by either end
            close(from);
        }
        close(from);
        close(to);
    }

    private static void close(Socket socket) {
        try {
            socket.setSoLinger(true, 0); // a reset rather than an orderly end
            socket.close();
        } catch (IOException gone) {
            return;
        }
    }

    @Override
    public void close() throws IOException {
        listener.close();
    }
}
