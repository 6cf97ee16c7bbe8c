bind = "127.0.0.1:8080"
wsgi_app = "app:application"
workers = 2
