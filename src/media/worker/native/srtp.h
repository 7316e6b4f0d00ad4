// mediasoup is written for libsrtp 3, which reads one buffer and writes another; Debian has libsrtp 2, which changes a
// buffer in place. This header comes before libsrtp's own and offers the functions of 3 by means of those of 2.
#ifndef VAARTHA_WORKER_SRTP_H
#define VAARTHA_WORKER_SRTP_H

#include <srtp2/srtp.h>
#include <cstddef>
#include <cstdint>
#include <cstring>

// mediasoup has texts for these two results of libsrtp 3. Version 2 never gives them, so any free numbers serve.
constexpr srtp_err_status_t srtp_err_status_buffer_small = static_cast<srtp_err_status_t>(28);
constexpr srtp_err_status_t srtp_err_status_cryptex_err  = static_cast<srtp_err_status_t>(29);

namespace vaartha
{
	using InPlace = srtp_err_status_t (*)(srtp_t, void*, int*);

	// `*toBytes` is the room in `to` before, and what was written after. `growth`: what a packet may grow by at most.
	inline srtp_err_status_t outOfPlace(
	  InPlace change, srtp_t session, const uint8_t* from, size_t fromBytes, uint8_t* to, size_t* toBytes, size_t growth)
	{
		if (fromBytes + growth > *toBytes)
			return srtp_err_status_buffer_small;
		// Often they are one buffer, which memmove may be given and memcpy may not.
		if (to != from)
			std::memmove(to, from, fromBytes);

		int bytes         = static_cast<int>(fromBytes);
		const auto result = change(session, to, &bytes);
		if (result == srtp_err_status_ok)
			*toBytes = static_cast<size_t>(bytes);
		return result;
	}

	// SRTCP adds the index of the packet, four bytes, to the authentication tag (RFC 3711 section 3.4).
	constexpr size_t srtcpIndexBytes = 4;
} // namespace vaartha

// The last parameter of libsrtp 3 chooses among several master keys; mediasoup uses one.
inline srtp_err_status_t srtp_protect(
  srtp_t session, const uint8_t* rtp, size_t rtpBytes, uint8_t* srtp, size_t* srtpBytes, size_t /*masterKey*/)
{
	const vaartha::InPlace change = ::srtp_protect;
	return vaartha::outOfPlace(change, session, rtp, rtpBytes, srtp, srtpBytes, SRTP_MAX_TRAILER_LEN);
}

inline srtp_err_status_t srtp_unprotect(
  srtp_t session, const uint8_t* srtp, size_t srtpBytes, uint8_t* rtp, size_t* rtpBytes)
{
	const vaartha::InPlace change = ::srtp_unprotect;
	return vaartha::outOfPlace(change, session, srtp, srtpBytes, rtp, rtpBytes, 0);
}

inline srtp_err_status_t srtp_protect_rtcp(
  srtp_t session, const uint8_t* rtcp, size_t rtcpBytes, uint8_t* srtcp, size_t* srtcpBytes, size_t /*masterKey*/)
{
	const vaartha::InPlace change = ::srtp_protect_rtcp;
	const size_t growth           = SRTP_MAX_TRAILER_LEN + vaartha::srtcpIndexBytes;
	return vaartha::outOfPlace(change, session, rtcp, rtcpBytes, srtcp, srtcpBytes, growth);
}

inline srtp_err_status_t srtp_unprotect_rtcp(
  srtp_t session, const uint8_t* srtcp, size_t srtcpBytes, uint8_t* rtcp, size_t* rtcpBytes)
{
	const vaartha::InPlace change = ::srtp_unprotect_rtcp;
	return vaartha::outOfPlace(change, session, srtcp, srtcpBytes, rtcp, rtcpBytes, 0);
}

inline srtp_err_status_t srtp_stream_remove(srtp_t session, uint32_t ssrcInNetworkOrder)
{
	return ::srtp_remove_stream(session, ssrcInNetworkOrder);
}

#endif
