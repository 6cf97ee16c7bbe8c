-- A service for HAProxy: GET /N is answered with N bytes of the pattern.
local period = {}
for byte = 0, 250 do
    period[#period + 1] = string.char(byte)
end
period = table.concat(period)

core.register_service("bodies", "http", function(applet)
    local length = tonumber(applet.path:match("^/(%d+)$")) or 0
    local body = period:rep(length // #period + 1):sub(1, length)
    applet:set_status(200)
    applet:add_header("content-length", tostring(length))
    applet:start_response()
    applet:send(body)
end)
