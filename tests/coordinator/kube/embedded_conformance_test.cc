#include "coordinator/embedded/store.h"
#include "tests/coordinator/embedded/store_support.h"
#include "tests/coordinator/kube/conformance_suite.h"

namespace vmferry::kube {
namespace {

class EmbeddedBackend final : public Backend {
 public:
  EmbeddedBackend() : store_(*embedded::Store::open(dir_.path("store.db"), clock_)) {}
  Reader& reader() override { return *store_; }
  Writer& writer() override { return *store_; }
  std::string ns() const override { return "n"; }
  void forget_history() override {
    // Ten thousand changes at once, in the counter alone.
    const std::string sql = "UPDATE sqlite_sequence SET seq = seq + 10001 WHERE name='events'";
    ASSERT_EQ(::system(("sqlite3 " + dir_.path("store.db") + " \"" + sql + "\"").c_str()), 0)
        << "needs sqlite3";
  }

 private:
  embedded::TempDir dir_;
  SystemClock clock_;
  std::unique_ptr<embedded::Store> store_;
};

INSTANTIATE_TEST_SUITE_P(Embedded, ConformanceTest, ::testing::Values(MakeBackend([](std::string&) {
                           return std::make_unique<EmbeddedBackend>();
                         })));

}  // namespace
}  // namespace vmferry::kube
