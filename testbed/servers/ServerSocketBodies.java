import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.net.Socket;

/** A server as in the textbook: a thread for every connection, GET /N answered with N bytes, and close. */
class ServerSocketBodies {
    public static void main(String[] arguments) throws IOException {
        var address = InetAddress.getByName(arguments[0]);
        try (var listener = new ServerSocket(Integer.parseInt(arguments[1]), 0, address)) {
            while (true) {
                var connection = listener.accept();
                new Thread(() -> serve(connection)).start();
            }
        }
    }

    private static void serve(Socket connection) {
        try (connection) {
            var input = new BufferedReader(new InputStreamReader(connection.getInputStream()));
            var request = input.readLine();
            if (request == null) {
                return;
            }
            for (var line = input.readLine(); line != null && !line.isEmpty(); line = input.readLine()) {
                // Headers change nothing.
            }
            var body = new byte[Integer.parseInt(request.split(" ")[1].substring(1))];
            for (int at = 0; at < body.length; at++) {
                body[at] = (byte) (at % 251);
            }
            var output = connection.getOutputStream();
            output.write(("HTTP/1.1 200 OK\r\nContent-Length: " + body.length + "\r\n\r\n").getBytes());
            output.write(body);
        } catch (IOException gone) {
            // The client's business.
        }
    }
}
