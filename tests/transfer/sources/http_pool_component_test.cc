#include <gtest/gtest.h>

#include <optional>

#include "common/catalogue.h"
#include "common/fd.h"
#include "tests/transfer/support/source_peers.h"
#include "transfer/sources/http_pool.h"

namespace vmferry {
namespace {

using testing::LyingServer;
using testing::TestPki;
using testing::Workspace;

Result<HttpResponse> head(const HttpPool::Lease& client, const std::string& url) {
  HttpRequest request;
  request.method = "HEAD";
  request.url = url;
  return client->send(request, {});
}

TEST(HttpPoolComponentTest, AConnectionMadeWithAnEarlierTrustIsNotLentAgain) {
  if (!testing::has_program("python3")) GTEST_SKIP() << "needs python3";
  const Workspace workspace;
  const TestPki pki(workspace);
  const TestPki other(workspace, "other");
  const LyingServer server(workspace, testing::patterned(4096), &pki);
  TlsTrust trusted;
  trusted.ca_pem = *read_file(pki.ca());
  TlsTrust distrusted;
  distrusted.ca_pem = *read_file(other.ca());
  HttpPool pool({.trust = trusted, .unix_socket = {}, .resolve = {}}, 1);

  std::optional<HttpPool::Lease> first = *pool.acquire({});
  ASSERT_TRUE(head(*first, server.file_url("ok")).ok());
  first.reset();
  first.emplace(*pool.acquire({}));
  ASSERT_TRUE(head(*first, server.file_url("ok")).ok());

  pool.set_trust(distrusted);  // while it is lent
  first.reset();
  const std::optional<HttpPool::Lease> second = *pool.acquire({});
  const Result<HttpResponse> answer = head(*second, server.file_url("ok"));
  ASSERT_FALSE(answer.ok());
  EXPECT_EQ(answer.error().code(), code::kSourceTls) << answer.error().message();
}

}  // namespace
}  // namespace vmferry
