<?php
// For `php -S HOST:PORT bodies.php`: GET /N is answered with N bytes of the pattern.
$length = (int) ltrim($_SERVER['REQUEST_URI'], '/');
$period = implode(array_map('chr', range(0, 250)));
header("Content-Length: $length");
echo substr(str_repeat($period, intdiv($length, 251) + 1), 0, $length);
