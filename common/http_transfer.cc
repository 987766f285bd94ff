#include "common/http_transfer.h"

#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <mutex>

#include <openssl/x509.h>

#include "common/catalogue.h"

namespace vmferry {
namespace {

constexpr std::size_t kMaxHeaderBytes = 256 << 10;

void global_init() {
  static std::once_flag once;
  std::call_once(once, [] { curl_global_init(CURL_GLOBAL_DEFAULT); });
}

std::string lower(std::string_view text) {
  std::string result(text);
  std::ranges::transform(result, result.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return result;
}

std::string_view trimmed(std::string_view text) {
  const auto is_space = [](char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; };
  while (!text.empty() && is_space(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_space(text.back())) text.remove_suffix(1);
  return text;
}

void append(CurlList& list, const std::string& line) {
  list.reset(curl_slist_append(list.release(), line.c_str()));
}

// As libcurl's callback: the system's authorities beside those that were given.
CURLcode add_system_store(CURL*, void* context, void*) {
  return SSL_CTX_set_default_verify_paths(static_cast<SSL_CTX*>(context)) == 1
             ? CURLE_OK
             : CURLE_SSL_CACERT_BADFILE;
}

}  // namespace

std::string CertificatePin::digest_of(const X509* leaf, const EVP_MD* algorithm) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned int length = 0;
  if (leaf == nullptr || X509_digest(leaf, algorithm, digest.data(), &length) != 1) return {};
  return fmt::format("{:02X}",
                     fmt::join(digest.begin(), digest.begin() + static_cast<long>(length), ":"));
}

int CertificatePin::verify(X509_STORE_CTX* store, void* argument) {
  auto& pin = *static_cast<CertificatePin*>(argument);
  const X509* leaf = X509_STORE_CTX_get0_cert(store);
  const EVP_MD* algorithm = pin.expected.size() == 59 ? EVP_sha1() : EVP_sha256();
  pin.presented = digest_of(leaf, algorithm);
  const bool equal =
      pin.presented.size() == pin.expected.size() &&
      CRYPTO_memcmp(pin.presented.data(), pin.expected.data(), pin.expected.size()) == 0;
  X509_STORE_CTX_set_error(store, equal ? X509_V_OK : X509_V_ERR_CERT_UNTRUSTED);
  return equal ? 1 : 0;
}

CURLcode CertificatePin::install(CURL*, void* context, void* argument) {
  auto* ssl = static_cast<SSL_CTX*>(context);
  SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, nullptr);
  SSL_CTX_set_cert_verify_callback(ssl, &CertificatePin::verify, argument);
  return CURLE_OK;
}

bool HttpExchange::announce() {
  if (announced) return true;
  announced = true;
  if (sink == nullptr || !sink->on_headers || sink->on_headers(response)) return true;
  stopped_by_sink = true;
  return false;
}

bool HttpExchange::add_header(std::string_view line) {
  header_bytes += line.size();
  if (header_bytes > kMaxHeaderBytes) {
    too_large = true;
    return false;
  }
  if (line.starts_with("HTTP/")) {  // of the final answer, or of a 1xx before it
    response = {};
    const std::size_t space = line.find(' ');
    response.status = space == std::string_view::npos
                          ? 0
                          : std::atoi(std::string(line.substr(space + 1, 3)).c_str());
    return true;
  }
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) {
    if (trimmed(line).empty() && response.status >= 200) headers_complete = true;
    return true;
  }
  const std::string name = lower(trimmed(line.substr(0, colon)));
  const std::string_view value = trimmed(line.substr(colon + 1));
  if (name == "set-cookie") response.set_cookies.emplace_back(value);
  // One value twice is one. Two are a list (RFC 9110 5.2): whoever needs one finds that it is none.
  const auto [known, added] = response.headers.try_emplace(name, value);
  if (!added && known->second != value) known->second.append(", ").append(value);
  return true;
}

bool HttpExchange::add_body(std::span<const std::byte> bytes) {
  if (!announce()) return false;
  if (sink != nullptr && sink->on_body) {
    if (sink->on_body(bytes)) return true;
    stopped_by_sink = true;
    return false;
  }
  if (response.body.size() + bytes.size() > max_body) {
    too_large = true;
    return false;
  }
  response.body.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return true;
}

std::size_t HttpExchange::on_header(char* data, std::size_t size, std::size_t count, void* self) {
  const std::size_t bytes = size * count;
  return static_cast<HttpExchange*>(self)->add_header({data, bytes}) ? bytes : 0;
}

std::size_t HttpExchange::on_write(char* data, std::size_t size, std::size_t count, void* self) {
  const std::size_t bytes = size * count;
  const std::span<const std::byte> body(reinterpret_cast<const std::byte*>(data), bytes);
  return static_cast<HttpExchange*>(self)->add_body(body) ? bytes : 0;
}

Result<void> HttpTransfer::init(HttpClient::Options wanted) {
  global_init();
  options = std::move(wanted);
  easy.reset(curl_easy_init());
  multi.reset(curl_multi_init());
  if (!easy || !multi) return make_error(ErrorKind::Internal, "cannot create an HTTP client");
  curl_multi_setopt(multi.get(), CURLMOPT_MAXCONNECTS, 2L);
  for (const std::string& entry : options.resolve) append(resolve, entry);
  if (!options.connect_to.empty()) append(connect_to, options.connect_to);
  if (!options.trust.thumbprint.empty()) {
    pin.expected = TRY(parse_thumbprint(options.trust.thumbprint));
  }
  return {};
}

void HttpTransfer::prepare_tls() {
  CURL* const handle = easy.get();
  curl_easy_setopt(handle, CURLOPT_SSLVERSION, long{CURL_SSLVERSION_TLSv1_2});
  curl_easy_setopt(handle, CURLOPT_SSL_VERIFYPEER, 1L);
  if (!pin.expected.empty()) {
    pin.presented.clear();
    // The name need not match a pinned certificate; a resumed session would skip the callback.
    curl_easy_setopt(handle, CURLOPT_SSL_VERIFYHOST, 0L);
    curl_easy_setopt(handle, CURLOPT_SSL_SESSIONID_CACHE, 0L);
    curl_easy_setopt(handle, CURLOPT_SSL_CTX_FUNCTION, &CertificatePin::install);
    curl_easy_setopt(handle, CURLOPT_SSL_CTX_DATA, &pin);
  } else if (!options.trust.ca_pem.empty()) {
    curl_blob blob{const_cast<char*>(options.trust.ca_pem.data()), options.trust.ca_pem.size(),
                   CURL_BLOB_COPY};
    curl_easy_setopt(handle, CURLOPT_CAINFO_BLOB, &blob);
    // Built-in, and searched beside the blob: whoever names an authority trusts no other.
    curl_easy_setopt(handle, CURLOPT_CAPATH, nullptr);
    if (options.trust.system_too) {
      curl_easy_setopt(handle, CURLOPT_SSL_CTX_FUNCTION, &add_system_store);
    }
  }
  if (!options.client_certificate_pem.empty()) {
    const std::string& key = options.client_key_pem.reveal();
    curl_blob certificate{const_cast<char*>(options.client_certificate_pem.data()),
                          options.client_certificate_pem.size(), CURL_BLOB_COPY};
    curl_blob key_blob{const_cast<char*>(key.data()), key.size(), CURL_BLOB_NOCOPY};
    curl_easy_setopt(handle, CURLOPT_SSLCERT_BLOB, &certificate);
    curl_easy_setopt(handle, CURLOPT_SSLKEY_BLOB, &key_blob);
  }
}

Result<void> HttpTransfer::prepare(const HttpRequest& request, HttpExchange& exchange,
                                   CurlList& headers) {
  CURL* const handle = easy.get();
  curl_easy_reset(handle);  // keeps connections and the DNS cache, which the multi handle owns
  for (const auto& [name, value] : request.headers) {
    if (value.find_first_of("\r\n") != std::string::npos) {
      return make_error(ErrorKind::InvalidArgument, "header '{}' holds a line break", name);
    }
    append(headers, name + ": " + value);
  }
  append(headers, "Expect:");
  if (!request.authorization.empty()) {
    append(headers, "Authorization: " + request.authorization.reveal());
  }

  curl_easy_setopt(handle, CURLOPT_URL, request.url.c_str());
  curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
  curl_easy_setopt(handle, CURLOPT_HTTPHEADER, headers.get());
  if (!request.cookie.empty()) {
    curl_easy_setopt(handle, CURLOPT_COOKIE, request.cookie.reveal().c_str());
  }
  curl_easy_setopt(handle, CURLOPT_USERAGENT, options.user_agent.c_str());
  curl_easy_setopt(handle, CURLOPT_HTTP_VERSION, long{CURL_HTTP_VERSION_1_1});
  curl_easy_setopt(handle, CURLOPT_FOLLOWLOCATION, 0L);
  curl_easy_setopt(handle, CURLOPT_PROXY, "");
  curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
  curl_easy_setopt(handle, CURLOPT_QUICK_EXIT, 1L);  // a stop does not wait for a name server
  curl_easy_setopt(handle, CURLOPT_TCP_NODELAY, 1L);
  curl_easy_setopt(handle, CURLOPT_TCP_KEEPALIVE, 1L);
  curl_easy_setopt(handle, CURLOPT_TCP_KEEPIDLE, 30L);
  curl_easy_setopt(handle, CURLOPT_TCP_KEEPINTVL, 15L);
  curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, static_cast<long>(options.receive_buffer));
  curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT_MS,
                   static_cast<long>(request.connect_timeout.count()));
  curl_easy_setopt(handle, CURLOPT_TIMEOUT_MS, static_cast<long>(request.total_timeout.count()));
  if (request.stall_timeout.count() > 0) {
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1024L);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME,
                     static_cast<long>(request.stall_timeout.count()));
  }
  if (request.accept_compressed) curl_easy_setopt(handle, CURLOPT_ACCEPT_ENCODING, "");
  if (!options.unix_socket.empty()) {
    curl_easy_setopt(handle, CURLOPT_UNIX_SOCKET_PATH, options.unix_socket.c_str());
  }
  if (connect_to) curl_easy_setopt(handle, CURLOPT_CONNECT_TO, connect_to.get());
  if (resolve) curl_easy_setopt(handle, CURLOPT_RESOLVE, resolve.get());
  if (request.fresh_connection) curl_easy_setopt(handle, CURLOPT_FRESH_CONNECT, 1L);

  curl_easy_setopt(handle, CURLOPT_CERTINFO, 1L);  // for peer_thumbprint()
  prepare_tls();

  if (request.method == "HEAD") {
    curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
  } else if (request.method != "GET") {
    curl_easy_setopt(handle, CURLOPT_POST, 1L);
    curl_easy_setopt(handle, CURLOPT_POSTFIELDSIZE_LARGE,
                     static_cast<curl_off_t>(request.body.size()));
    curl_easy_setopt(handle, CURLOPT_POSTFIELDS, request.body.c_str());
    curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request.method.c_str());
  }
  curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, &HttpExchange::on_header);
  curl_easy_setopt(handle, CURLOPT_HEADERDATA, &exchange);
  curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, &HttpExchange::on_write);
  curl_easy_setopt(handle, CURLOPT_WRITEDATA, &exchange);
  error_text[0] = '\0';
  curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, error_text);
  return {};
}

Result<std::optional<CURLcode>> HttpTransfer::step(int wait_ms, std::stop_token stop) {
  if (stop.stop_requested()) return make_error(ErrorKind::Canceled, "request cancelled");
  int running = 0;
  if (const CURLMcode code = curl_multi_perform(multi.get(), &running); code != CURLM_OK) {
    return make_error(ErrorKind::Internal, "HTTP client: {}", curl_multi_strerror(code));
  }
  if (running != 0) {
    curl_multi_poll(multi.get(), nullptr, 0, wait_ms, nullptr);
    return std::optional<CURLcode>();
  }
  int left = 0;
  while (const CURLMsg* message = curl_multi_info_read(multi.get(), &left)) {
    if (message->msg == CURLMSG_DONE) return std::optional(message->data.result);
  }
  return make_error(ErrorKind::Internal, "HTTP client lost its transfer");
}

Error HttpTransfer::failure(CURLcode code, const HttpRequest& request,
                            const HttpExchange& exchange) const {
  const std::string where = redacted_url(request.url);
  if (exchange.too_large) {
    return make_error(ErrorKind::ResourceExhausted, "{}: response is larger than {} bytes", where,
                      request.max_response_bytes);
  }
  if (exchange.stopped_by_sink) {
    return make_error(ErrorKind::Aborted, "{}: response was not wanted", where);
  }
  // libcurl's text may repeat the URL with its query; only what is free of it is passed on.
  const std::string text = curl_easy_strerror(code);
  switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_ISSUER_ERROR:
    case CURLE_SSL_CACERT_BADFILE:
      if (!pin.expected.empty() && !pin.presented.empty()) {
        return coded_error(ErrorKind::PermissionDenied, code::kSourceTls,
                           "{}: the server's certificate has thumbprint {}, expected {}", where,
                           pin.presented, pin.expected);
      }
      return coded_error(ErrorKind::PermissionDenied, code::kSourceTls,
                         "{}: the server's certificate is not trusted ({})", where, error_text);
    case CURLE_OPERATION_TIMEDOUT:
      return make_error(ErrorKind::DeadlineExceeded, "{}: no answer in time", where);
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
      return make_error(ErrorKind::InvalidArgument, "{}: not a valid http(s) URL", where);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_CONNECT:
      return make_error(ErrorKind::Unavailable, "{}: cannot connect ({})", where, error_text);
    case CURLE_SSL_CERTPROBLEM:
      return make_error(ErrorKind::InvalidArgument, "{}: the client certificate is unusable",
                        where);
    case CURLE_SSL_CONNECT_ERROR:
      return make_error(ErrorKind::Unavailable, "{}: TLS handshake failed ({})", where, error_text);
    case CURLE_PARTIAL_FILE:
      return make_error(ErrorKind::Unavailable, "{}: the body ended early", where);
    default:
      return make_error(ErrorKind::Unavailable, "{}: {}", where, text);
  }
}

}  // namespace vmferry
