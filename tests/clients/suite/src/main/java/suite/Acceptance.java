package suite;

/**
 * 1.1: what genuine Kafka does, byte for byte, shown with raw requests; docs/acceptance.md has the
 * table. Each theme is a class of its own; all share one broker, each with topics of its own.
 */
abstract class Acceptance {
    /** What a check does with a connection of its own. */
    interface Body {
        void run(Wire wire) throws Exception;
    }

    final Suite suite;
    final Broker broker;

    Acceptance(Suite suite, Broker broker) {
        this.suite = suite;
        this.broker = broker;
    }

    abstract void run() throws Exception;

    /** A check of an acceptance behaviour. */
    final void item(String name, Body body) {
        suite.check("1.1 item " + name, at -> wired(body));
    }

    /** A check of something that trips other brokers. */
    final void trap(String name, Body body) {
        suite.check("1.1 trap " + name, at -> wired(body));
    }

    final void wired(Body body) throws Exception {
        broker.ensureStarted();
        try (Wire wire = new Wire(broker)) {
            body.run(wire);
        }
    }

    final boolean genuine() {
        return suite.setup().kind() == Setup.Kind.KAFKA;
    }
}
