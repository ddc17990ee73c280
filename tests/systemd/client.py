"""A client with a certificate, run inside the machine: client.py PEM TIMES ask|send. Prints the last reply code.

It comes from 127.0.0.2, as Debian's Exim relays for 127.0.0.1 without asking for anything.
"""

import smtplib
import ssl
import sys

pem, times, what = sys.argv[1:]
context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
context.check_hostname = False
context.verify_mode = ssl.CERT_NONE
context.load_cert_chain(pem)
code = 0
try:
    with smtplib.SMTP("127.0.0.1", 25, "client.lab.example", 20, ("127.0.0.2", 0)) as client:
        client.starttls(context=context)
        client.ehlo()
        client.docmd("MAIL FROM:<s@lab.example>")
        for _ in range(int(times)):
            code, _words = client.docmd("RCPT TO:<r@remote.example>")
        if what == "send" and code == 250:
            code, _words = client.data("Subject: relayed\r\n\r\nrelayed\r\n")
except ConnectionRefusedError:
    code = 0
sys.stdout.write(str(code))
