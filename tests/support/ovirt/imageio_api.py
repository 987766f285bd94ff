"""What the engine needs from a host's imageio, whichever kind runs.

start()                         comes up; raises ImageioError
url(host)                       https://HOST:PORT; host None is the real address
proxy_url()                     of the proxy beside the engine; the host's own where there is none
serve_guest_view(nbd, image, format, shallow, size) -> (server or None, ticket url, size)
serve_file(image)                                   -> (server or None, ticket url, size)
add(ticket)                     raises ImageioError
info(id)                        dict with active, idle_time, expires, transferred; None: unknown
extend(id, seconds)
remove(id)                      False when requests still run after the host's patience
usage(transfer id)              requests clients made, most connections at a time; None: unknown
restart()                       forgets all tickets and connections, same address
stop()
"""


class ImageioError(Exception):
    """The host could not do it; the text says what."""
