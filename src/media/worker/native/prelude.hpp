// Read before every source of the mediasoup worker, and compiled once: what most of its files include takes two thirds
// of the time that they take to compile, and what differs between Debian's libraries and mediasoup's is set right here.
#ifndef VAARTHA_WORKER_PRELUDE_HPP
#define VAARTHA_WORKER_PRELUDE_HPP

#include "common.hpp"
#include "FBS/message.h"
#include "FBS/notification.h"
#include "FBS/request.h"
#include "FBS/worker.h"
#include <absl/container/flat_hash_map.h>
#include <absl/container/flat_hash_set.h>
#include <flatbuffers/flatbuffers.h>
#include <openssl/bio.h>
#include <uv.h>
#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

// Debian's OpenSSL can hand encryption to the kernel (KTLS), the one that mediasoup brings cannot. libssl asks a BIO
// through its callback whether the kernel encrypts, and mediasoup's callback says yes to whatever it does not know:
// libssl then prepares no buffer to encrypt into, and the first DTLS message kills the worker. So those two questions
// are answered with no before mediasoup's callback hears of them.
#ifdef BIO_CTRL_GET_KTLS_SEND
namespace vaartha
{
	template<BIO_callback_fn_ex callback>
	long withoutKernelTls(
	  BIO* bio, int operation, const char* data, size_t bytes, int question, long number, int result, size_t* processed)
	{
		const bool asksForKernel = question == BIO_CTRL_GET_KTLS_SEND || question == BIO_CTRL_GET_KTLS_RECV;
		if (operation == BIO_CB_CTRL && asksForKernel)
			return 0;
		return callback(bio, operation, data, bytes, question, number, result, processed);
	}
} // namespace vaartha

#define BIO_set_callback_ex(bio, callback) (BIO_set_callback_ex)((bio), vaartha::withoutKernelTls<callback>)
#endif

#endif
