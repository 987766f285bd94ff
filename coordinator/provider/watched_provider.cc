#include "coordinator/provider/watched_provider.h"

#include <type_traits>
#include <utility>

#include "common/catalogue.h"
#include "common/secret.h"

namespace vmferry {
namespace {

class WatchedProvider final : public Provider {
 public:
  WatchedProvider(std::unique_ptr<Provider> provider, std::string source, SourceTurns& turns)
      : provider_(std::move(provider)), source_(std::move(source)), turns_(turns) {}

  ProviderKind kind() const override { return provider_->kind(); }
  Result<void> check_connection(std::stop_token stop) override {
    return watch([&] { return provider_->check_connection(stop); });
  }
  Result<SourceVm> find_vm(const VmRef& ref, std::stop_token stop) override {
    return watch([&] { return provider_->find_vm(ref, stop); });
  }
  Result<Listing> list(ListingKind kind, std::stop_token stop) override {
    return watch([&] { return provider_->list(kind, stop); });
  }
  Result<PowerState> power_state(const std::string& native_id, std::stop_token stop) override {
    return watch([&] { return provider_->power_state(native_id, stop); });
  }
  Result<void> request_stop(const std::string& native_id, bool force,
                            std::stop_token stop) override {
    return watch([&] { return provider_->request_stop(native_id, force, stop); });
  }
  Result<void> start(const std::string& native_id, std::stop_token stop) override {
    return watch([&] { return provider_->start(native_id, stop); });
  }
  Result<WayChoice> choose_way(const SourceVm& vm, const SourceDisk& disk, bool vddk,
                               std::stop_token stop) override {
    return watch([&] { return provider_->choose_way(vm, disk, vddk, stop); });
  }
  Result<DiskOpening> open_disk(const SourceVm& vm, const SourceDisk& disk,
                                const std::string& owner, std::stop_token stop) override {
    return watch([&] { return provider_->open_disk(vm, disk, owner, stop); });
  }
  Result<DiskOpening> poll_disk(const SourceVm& vm, const SourceDisk& disk,
                                const std::string& handle, std::stop_token stop) override {
    return watch([&] { return provider_->poll_disk(vm, disk, handle, stop); });
  }
  Result<DiskOpening> renew(const SourceVm& vm, const SourceDisk& disk, const std::string& handle,
                            std::stop_token stop) override {
    if (turns_.rests(source_)) {
      return coded_error(ErrorKind::Unavailable, code::kSourceUnreachable,
                         "{} takes connections but does not answer", redacted_url(source_));
    }
    return watch([&] { return provider_->renew(vm, disk, handle, stop); });
  }
  void report_progress(const std::string& handle, int percent) override {
    provider_->report_progress(handle, percent);
  }
  void keep_open(const std::string& handle, std::stop_token stop) override {
    const SourceTurns::Call call(turns_, source_);  // it does not tell how it went
    provider_->keep_open(handle, stop);
  }
  Result<std::vector<std::pair<std::string, std::string>>> disk_identity(
      const SourceVm& vm, const SourceDisk& disk, std::stop_token stop) override {
    return watch([&] { return provider_->disk_identity(vm, disk, stop); });
  }
  Result<bool> release_disk(const std::string& handle, const std::string& disk_id,
                            const std::string& owner, bool success, std::stop_token stop) override {
    return watch([&] { return provider_->release_disk(handle, disk_id, owner, success, stop); });
  }
  void close() override { provider_->close(); }
  void log_out() override { provider_->log_out(); }

 private:
  template <typename Work>
  std::invoke_result_t<Work> watch(Work work) {
    SourceTurns::Call call(turns_, source_);
    std::invoke_result_t<Work> result = work();
    call.end(result ? std::nullopt : std::optional(result.error().kind()));
    return result;
  }

  const std::unique_ptr<Provider> provider_;
  const std::string source_;
  SourceTurns& turns_;
};

}  // namespace

std::unique_ptr<Provider> watched(std::unique_ptr<Provider> provider, std::string source,
                                  SourceTurns& turns) {
  return std::make_unique<WatchedProvider>(std::move(provider), std::move(source), turns);
}

}  // namespace vmferry
