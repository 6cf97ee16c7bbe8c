import com.sun.net.httpserver.HttpServer;
import java.net.InetSocketAddress;
import java.util.concurrent.Executors;

/** The JDK's own HTTP server: GET /N is answered with N bytes of the pattern. Arguments: host and port. */
class HttpServerBodies {
    public static void main(String[] arguments) throws Exception {
        var address = new InetSocketAddress(arguments[0], Integer.parseInt(arguments[1]));
        var server = HttpServer.create(address, 0);
        server.setExecutor(Executors.newCachedThreadPool());
        server.createContext("/", exchange -> {
            var body = new byte[Integer.parseInt(exchange.getRequestURI().getPath().substring(1))];
            for (int at = 0; at < body.length; at++) {
                body[at] = (byte) (at % 251);
            }
            exchange.sendResponseHeaders(200, body.length);
            exchange.getResponseBody().write(body);
            exchange.close();
        });
        server.start();
    }
}
